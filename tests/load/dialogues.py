"""What clients of each kind say to come in: a handshake, and the dialogue after it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote

from tests.load.generator.orders import Dialogue, Step
from tests.load.stage import handshake, handshake_to, http_request, token

Dialect: TypeAlias = Literal["room", "protocol", "sse", "http-stream", "socketio", "nchan"]
"""A plain room, the client protocol (JSON) in each of its three ways, Socket.IO, or nchan's WebSocket."""

JOINTS: Final[dict[Dialect, int]] = {"protocol": 1, "sse": -1, "http-stream": 0}
"""Who joins publications in one frame: line feeds between them, one behind all, or nothing but their own."""

SOCKETIO_CONNECT: Final = Dialogue((Step(b"", b"0{"), Step(b"40", b"40{")), ping=b"2", pong=b"3")
"""Engine.IO's opening packet, then the connect to the default namespace and its answer."""


def request(dialect: Dialect, channel: str, user: str) -> bytes:
    """A client's handshake; in an HTTP stream with all that it says."""
    match dialect:
        case "room":
            return handshake(channel, user)
        case "protocol":
            return handshake_to("/connection/websocket")
        case "sse":
            said = quote(_connect(user, channel).decode())
            return http_request("GET", f"/connection/sse?cf_connect={said}")
        case "http-stream":
            return http_request("POST", "/connection/http_stream", _connect(user, channel))
        case "nchan":
            return handshake_to(f"/sub/{channel}")
        case "socketio":
            return handshake_to(f"/socket.io/?EIO=4&transport=websocket&room={quote(channel)}")


def dialogue(dialect: Dialect, channel: str, user: str) -> Dialogue | None:
    """What a client says and hears after its handshake; a plain room's says nothing."""
    match dialect:
        case "protocol":
            return protocol(user, [subscribe(2, channel)])
        case "sse":
            return Dialogue((Step(b"", b'data: {"id":1,"connect":{', (b'"subs":{', 1)),), ping=b"data: {}\n\n")
        case "http-stream":
            return Dialogue((Step(b"", b'{"id":1,"connect":{', (b'"subs":{', 1)),), ping=b"{}\n")
        case "socketio":
            return SOCKETIO_CONNECT
        case "room" | "nchan":
            return None


def protocol(user: str, steps: Sequence[Step]) -> Dialogue:
    """Connect to the client protocol with a token; then steps, as an SDK does: each when the last is answered."""
    said = _command(1, "connect", {"token": token(user), "name": "js"})
    return Dialogue((Step(said, b'{"id":1,"connect":{"client":'), *steps), ping=b"{}", pong=b"{}")


def _connect(user: str, channel: str) -> bytes:
    """Connect with a token that subscribes to a channel: one command, as a stream's request holds one."""
    return _command(1, "connect", {"token": token(user, channel), "name": "js"})


def subscribe(id: int, channel: str) -> Step:
    """Subscribe to one channel."""
    return Step(_command(id, "subscribe", {"channel": channel}), b'{"id":%d,"subscribe":{' % id)


def subscribe_all(first_id: int, channels: Sequence[str]) -> Dialogue:
    """Subscribe to channels in one frame, as an SDK does that has just connected."""
    ids = range(first_id, first_id + len(channels))
    said = [_command(id, "subscribe", {"channel": channel}) for id, channel in zip(ids, channels, strict=True)]
    step = Step(b"\n".join(said), b'{"id":', (b'"subscribe":{', len(channels)), is_split=True)
    return Dialogue((step,), ping=b"{}", pong=b"{}")


def recover(id: int, channel: str, offset: int, epoch: str, missed: int) -> Step:
    """Subscribe to one channel from a position on, and count what was missed."""
    said = {"channel": channel, "recover": True, "offset": offset, "epoch": epoch, "recoverable": True}
    return Step(_command(id, "subscribe", said), b'{"id":%d,"subscribe":{' % id, (b'{"data":', missed))


def _command(id: int, method: str, content: dict[str, Any]) -> bytes:
    return json.dumps({method: content, "id": id}, separators=(",", ":")).encode()
