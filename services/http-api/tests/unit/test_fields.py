"""http_api.rest.fields: JSON as it is, nothing turned into something else."""

from __future__ import annotations

from typing import Any

import pytest

from http_api.rest.fields import AnyJSONField, NumberField, StrictSerializer, TextField, UserIdField


class Example(StrictSerializer):
    """One of each."""

    text = TextField(required=False)
    number = NumberField(required=False)
    value = AnyJSONField(required=False)
    user = UserIdField(required=False)


@pytest.mark.parametrize(
    "good",
    [{"text": "5"}, {"number": 5}, {"number": -1}, {"value": None}, {"value": {"a": [1]}}, {"user": "42"}, {}],
    ids=str,
)
def test_a_value_is_taken_as_it_is(good: dict[str, Any]) -> None:
    """No coercion on the way in."""
    body = Example(data=good)
    assert body.is_valid(), body.errors
    assert body.validated_data == good


@pytest.mark.parametrize(
    "bad",
    [{"text": 5}, {"text": True}, {"text": ["a"]}, {"text": None}, {"number": "5"}, {"number": 5.0}, {"number": True},
     {"number": None}, {"user": 42}, {"user": ""}, {"user": "a b"}, {"other": 1}],
    ids=str,
)  # fmt: skip
def test_a_value_of_another_type_is_refused(bad: dict[str, Any]) -> None:
    """DRF's own fields would turn most of these into something."""
    body = Example(data=bad)
    assert not body.is_valid()
    assert body.errors.keys() == bad.keys()


def test_unknown_fields_are_told_with_all_the_rest() -> None:
    """One round trip tells everything that is wrong."""
    body = Example(data={"text": 5, "txet": "x", "number": "7"})
    assert not body.is_valid()
    assert body.errors.keys() == {"text", "txet", "number"}
