"""clarion.publications: the one message shape, both ways."""

from __future__ import annotations

from typing import Any

import pytest

from clarion.errors import DataInvalid, PublicationTooLarge
from clarion.publications import (
    Publication,
    client_data,
    idempotency_key_check,
    publication,
    publication_of,
    tags_check,
)


def test_publication_holds_only_what_was_given() -> None:
    """A stock consumer sees no empty keys."""
    assert publication(None) == {"type": "clarion.publication", "data": None}
    assert publication(1, tags={}, info={}) == {"type": "clarion.publication", "data": 1}
    assert publication(1, tags={"a": "b"}, info={"user": "1"}, delta=True) == {
        "type": "clarion.publication", "data": 1, "tags": {"a": "b"}, "info": {"user": "1"}, "delta": True,
    }  # fmt: skip


def test_publication_of_reads_what_publication_made() -> None:
    """With what Redis adds; any other dict is none."""
    message = {**publication({"a": 1}, tags={"k": "v"}), "offset": 7, "epoch": "e", "time": 5}
    assert publication_of(message) == Publication(data={"a": 1}, offset=7, epoch="e", time=5, tags={"k": "v"})
    assert publication_of({"type": "clarion.publication"}) == Publication(data=None)
    assert publication_of({"type": "chat.message", "data": 1}) is None
    assert publication_of({}) is None


def test_client_data_is_the_data_or_the_whole_dict() -> None:
    """A stock service's dict arrives as it is."""
    assert client_data(publication([1])) == [1]
    assert client_data({"type": "chat.message", "data": 1}) == {"type": "chat.message", "data": 1}


@pytest.mark.parametrize("tags", [[], "", "a", 1, {"a": 1}, {1: "a"}, {"a": None}, {"a": "\ud800"}, {"\ud800": "a"}])
def test_tags_are_texts_by_name(tags: Any) -> None:
    """Whatever else is refused, the empty list too."""
    with pytest.raises(DataInvalid):
        tags_check(tags)


def test_tags_are_small_or_none() -> None:
    """No tags and empty tags are the same; 4 KiB is the most."""
    assert tags_check(None) is None
    assert tags_check({}) is None
    assert tags_check({"a": "\0"}) == {"a": "\0"}
    assert tags_check({"a": "x" * 4_088})
    with pytest.raises(PublicationTooLarge):
        tags_check({"a": "x" * 4_089})


def test_idempotency_keys_are_short_printable_texts() -> None:
    """So that they stand in a Redis key, a database and a log."""
    for key in ("k", "é 1", "x" * 200):
        assert idempotency_key_check(key) == key
    for bad in ("", "x" * 201, "a\0", "a\n", "\ud800", None, 1, b"k"):
        with pytest.raises(DataInvalid):
            idempotency_key_check(bad)
