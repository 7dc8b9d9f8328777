"""clarion.errors: the tree of errors and the codes that clients see."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clarion import errors
from clarion.codes import DisconnectCode, ErrorCode, UnsubscribeCode
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
            "layer_unavailable", "config_invalid", "request_invalid", "method_not_found", "already_subscribed",
            "limit_exceeded", "not_available", "unrecoverable_position", "expired", "concurrent_pagination",
            "keys_unavailable", "host_not_allowed",
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


def test_every_protocol_error_number_has_a_class() -> None:
    """Whatever number the protocol has, a service can raise it."""
    assert {kind.protocol_code for kind in all_errors()} == set(ErrorCode)


@pytest.mark.parametrize("code", list(DisconnectCode))
def test_disconnect_codes_tell_whether_to_come_back(code: DisconnectCode) -> None:
    """3000 to 3499 reconnect, 3500 to 3999 do not; each has a reason that fits a close frame."""
    assert 3000 <= code <= 3999
    assert code.is_terminal is (code >= 3500)
    assert 0 < len(code.reason.encode()) <= 123


def test_unsubscribe_codes_are_split_at_2500() -> None:
    """From 2500 on a client subscribes again by itself."""
    assert [code for code in UnsubscribeCode if code >= 2500] == [2500, 2501, 2502]
