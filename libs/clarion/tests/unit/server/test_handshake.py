"""The opening handshake without I/O."""

from __future__ import annotations

import pytest

from clarion.server.handshake import Negotiator, Refused, accepted, head_bytes, is_websocket, scope_of

HEAD = (
    b"GET /ws/a%20b?q=1 HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: a, b\r\nX_Spoof: 1\r\nDaphne-Root-Path: /evil\r\n\r\n"
)


@pytest.mark.parametrize(
    ("lines", "taken"),
    [
        (b"Upgrade: websocket", True),
        (b"uPGRADE:\tWebSocket ", True),
        (b"Upgrade: h2c\r\nUpgrade: websocket", False),
        (b"Upgrade: websocket\r\nUpgrade: h2c", True),
        (b"X-Upgrade: websocket", False),
        (b"X: Upgrade: websocket", False),
        (b"Upgrade: websockets", False),
        (b"", False),
    ],
)
def test_first_upgrade_value_decides(lines: bytes, taken: bool) -> None:
    """Trap 30: daphne's own rule."""
    assert is_websocket(b"GET / HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\n\r\n") is taken


def test_answer_of_rfc_6455() -> None:
    """The key's answer is the RFC's; subprotocol and headers are the application's; own headers are not its to set."""
    _, response = Negotiator("clarion").judge(HEAD)
    answer = accepted(response, ["a", "b"], "b", [(b"x-more", b"1"), (b"Connection", b"close")])
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert b"Sec-WebSocket-Protocol: b\r\n" in answer
    assert b"x-more: 1\r\n" in answer
    assert b"close" not in answer


@pytest.mark.parametrize(
    ("subprotocol", "headers"),
    [("c", []), (None, [(b"sec-websocket-protocol", b"a")]), (None, [(b"x", b"a\r\nb: c")]), (None, [(b"x y", b"a")])],
)
def test_wrong_accepts_are_refused(subprotocol: str | None, headers: list[tuple[bytes, bytes]]) -> None:
    """An application cannot choose what was not offered, nor write a second header into a value."""
    _, response = Negotiator("").judge(HEAD)
    with pytest.raises(ValueError, match=r".+"):
        accepted(response, ["a", "b"], subprotocol, headers)


def test_refusal_keeps_no_traceback() -> None:
    """Trap 13: a bad handshake leaves nothing that only the collector frees."""
    with pytest.raises(Refused) as refused:
        Negotiator("").judge(HEAD.replace(b"Version: 13", b"Version: 8"))
    assert refused.value.response.headers["Sec-WebSocket-Version"] == "13"


def test_scope_is_daphnes_without_its_trust() -> None:
    """Trap 30: unquoted path, no underscores; the root path is the option's, never the network's."""
    request, _ = Negotiator("").judge(HEAD)
    scope = scope_of(request, secure=False, root_path="/app")
    assert scope["path"] == "/ws/a b"
    assert scope["raw_path"] == b"/ws/a%20b"
    assert scope["query_string"] == b"q=1"
    assert scope["root_path"] == "/app"
    assert scope["subprotocols"] == ["a", "b"]
    assert not {b"x_spoof", b"daphne-root-path"} & {name for name, _ in scope["headers"]}


def test_rebuilt_head_keeps_repeated_headers() -> None:
    """Trap 28: two Cookie headers stay two lines."""
    head = head_bytes(b"GET", b"/x", b"HTTP/1.1", [(b"Cookie", [b"a=1", b"b=2"])])
    assert head == b"GET /x HTTP/1.1\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n"
