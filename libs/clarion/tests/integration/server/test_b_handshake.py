"""Opening handshakes, and what a connection leaves in the log: traps 22 and 23."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .raw_client import KEY, close, handshake, text
from .server_process import ServerProcess


def without(line: str) -> bytes:
    """A handshake that lacks one header."""
    lines = handshake("/ws/before?do=hang&name=NAME").split(b"\r\n")
    return b"\r\n".join(found for found in lines if not found.startswith(line.encode() + b":"))


BAD_HANDSHAKES = {
    "bad key": (handshake("/ws/before?do=hang&name=NAME", key="c2hvcnQ="), {400}),
    "no key": (without("Sec-WebSocket-Key"), {400}),
    "two keys": (handshake("/ws/before?do=hang&name=NAME", f"Sec-WebSocket-Key: {KEY}"), {400}),
    "no version": (without("Sec-WebSocket-Version"), {400, 426}),
    "no connection": (without("Connection"), {400, 426}),
    "version 8": (handshake("/ws/before?do=hang&name=NAME").replace(b"Version: 13", b"Version: 8"), {400, 426}),
    "a body": (handshake("/ws/before?do=hang&name=NAME", "Content-Length: 5") + b"hello", {400, 413}),
    "chunked": (
        handshake("/ws/before?do=hang&name=NAME", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        {400, 411, 413, 501},
    ),
    "a malformed header": (handshake("/ws/before?do=hang&name=NAME", "no colon here"), {400}),
    "a space in a name": (handshake("/ws/before?do=hang&name=NAME", "Bad Name: x"), {400}),
    "POST": (handshake("/ws/before?do=hang&name=NAME").replace(b"GET ", b"POST ", 1), {400, 405}),
    "HTTP/1.0": (handshake("/ws/before?do=hang&name=NAME").replace(b"HTTP/1.1", b"HTTP/1.0"), {400, 426, 505}),
    "a control byte": (handshake("/ws/before?do=hang&name=NAME", "X-Bad: a\x00b"), {400}),
    "a path beyond ASCII": (handshake("/ws/before/\xe9?do=hang&name=NAME"), {400}),
}


@pytest.mark.parametrize("case", BAD_HANDSHAKES)
def test_bad_handshakes_are_answered_and_reach_no_application(server: ServerProcess, name: str, case: str) -> None:
    """Trap 22: a handshake that cannot succeed gets a 4xx, costs no application call, and the connection ends."""
    request, statuses = BAD_HANDSHAKES[case]
    client = server.dial()
    client.send(request.replace(b"NAME", name.encode()))
    head = client.read_head()
    assert head.status in statuses, head
    if case == "version 8":
        assert head.get("sec-websocket-version") == "13"
    assert server.journal(name) == []


def test_no_extension_is_negotiated(server: ServerProcess) -> None:
    """Trap 23: shared frames are not compressed; deflate stays off until it is built."""
    head = server.dial().upgrade("/ws/echo", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    assert head.status == 101
    assert head.get("sec-websocket-extensions") is None


def test_connections_leave_no_log_line(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 23: nothing per connection at INFO, and neither token, query string nor payload in any line."""
    server = start()
    before = len(server.log)
    for path in ("echo", "detach"):
        client = server.open(f"/ws/{path}?name={name}&token=hush-hush")
        client.send(text("echo private words"))
        assert client.read_text()
        client.send(close(1000))
        client.read_frames()
        server.wait_for(name, "disconnect" if path == "echo" else "closed")
    lines = server.log[before:].splitlines()
    assert not [line for line in lines if "/control/" not in line], lines
    assert not [line for line in lines if "hush-hush" in line or "private words" in line]


def test_debug_log_holds_no_payload_and_no_token(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 23: `-v 2` logs at DEBUG, and still neither payloads nor query strings."""
    server = start("-v", "2")
    client = server.open(f"/ws/echo?name={name}&token=hush-hush")
    client.send(text("private words"))
    assert client.read_text() == "private words"
    client.send(close(1000))
    client.read_frames()
    server.wait_for(name, "disconnect")
    assert "private words" not in server.log
    assert "hush-hush" not in server.log
