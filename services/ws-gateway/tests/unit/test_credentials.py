"""ws_gateway.credentials and rooms: what a handshake says."""

from __future__ import annotations

from typing import Any

import pytest

from clarion.errors import TokenInvalid
from clarion.tokens import token_make
from ws_gateway.credentials import header_of, identity_of, query_of, token_of
from ws_gateway.rooms import channel_of

SECRET = "dev-" + "t" * 40


def scope(query: bytes = b"", subprotocols: list[str] | None = None, **headers: bytes) -> dict[str, Any]:
    return {
        "query_string": query,
        "subprotocols": subprotocols or [],
        "headers": [(name.encode(), value) for name, value in headers.items()],
    }


@pytest.mark.parametrize(
    ("raw_path", "channel"),
    [
        (b"/ws/chat:lobby/", "chat:lobby"), (b"/ws/chat:lobby", "chat:lobby"), (b"/ws/%2342/", "#42"),
        (b"/ws/a%2Fb/", "a/b"), (b"/ws/a/b/", "a/b"), (b"/ws/%C3%A4/", "ä"), (b"/ws//", ""), (b"/ws/%ff/", "\ufffd"),
    ],
)  # fmt: skip
def test_channel_of_unquotes_the_raw_path(raw_path: bytes, channel: str) -> None:
    """What it names is checked later: an encoded slash is a bad character, not a shorter name."""
    assert channel_of({"raw_path": raw_path, "path": "unused"}) == channel


def test_token_of_prefers_the_subprotocol_pair() -> None:
    """clarion, <token>; else ?token=; the last of two counts."""
    assert token_of(scope(b"token=b", ["clarion", "a"])) == ("a", False)
    assert token_of(scope(b"x=1&token=a&token=b", ["clarion"])) == ("b", True)
    assert token_of(scope(b"token=")) == ("", True)
    assert token_of(scope(b"hello=1", ["other", "a"])) == (None, True)


def test_query_of_survives_rubbish() -> None:
    """Bytes that are no UTF-8, empty pairs, no value."""
    assert query_of(scope(b"&&a=%ff&b&c=1"))["c"] == "1"


def test_header_of_takes_the_last() -> None:
    """Absent is None."""
    twice = {"headers": [(b"origin", b"a"), (b"origin", b"b")]}
    assert header_of(twice, b"origin") == "b"
    assert header_of({"headers": []}, b"origin") is None


async def test_identity_of_reads_a_token_without_a_query() -> None:
    """User and grants come from the signed token alone."""
    token, _ = token_make(SECRET, "7", channels=("chat:x",))
    identity = await identity_of(scope(subprotocols=["clarion", token]), SECRET, 1)
    assert (identity.user, identity.has_token, identity.grants) == ("7", True, ("chat:x",))


async def test_identity_of_refuses_a_bad_token_even_with_a_cookie() -> None:
    """Token before cookie: a bad one is not forgiven."""
    with pytest.raises(TokenInvalid):
        await identity_of(scope(b"token=bad", cookie=b"clarion_session=abc"), SECRET, 1)
    with pytest.raises(TokenInvalid):
        await identity_of(scope(b"token="), SECRET, 1)


async def test_identity_of_nobody_is_anonymous() -> None:
    """No token, no session cookie: no database is asked (none is there)."""
    identity = await identity_of(scope(cookie=b"other=1"), SECRET, 1)
    assert (identity.user, identity.has_token) == ("", False)
