"""clarion.errors: the tree of errors and the codes that clients see."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clarion import errors
from clarion.errors import ClarionError


def all_errors(base: type[ClarionError] = ClarionError) -> Iterator[type[ClarionError]]:
    yield base
    for kind in base.__subclasses__():
        yield from all_errors(kind)


def test_every_code_is_stable_and_unique() -> None:
    """Clients switch on these strings: renaming one is a breaking change, so the list stands here."""
    assert sorted(kind.code for kind in all_errors() if kind.__module__ == errors.__name__) == sorted(
        [
            "internal", "name_invalid", "data_invalid", "json_malformed", "publication_too_large", "namespace_unknown",
            "unauthorized", "token_invalid", "token_expired", "permission_denied", "too_many_requests",
            "layer_unavailable", "config_invalid",
        ]
    )  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in all_errors() if kind is not errors.ConfigInvalid])
def test_every_error_has_a_text_and_a_status(kind: type[ClarionError]) -> None:
    """The docstring's first line is the text; the status is an HTTP error."""
    error = kind()
    assert error.detail == str(error) == kind.default_detail()
    assert error.detail
    assert 400 <= error.http_status <= 599
    assert kind("more precise").detail == "more precise"
