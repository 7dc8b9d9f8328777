"""What clients of each kind say to come in: a handshake, and the dialogue after it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

from tests.load.generator.orders import Dialogue, Step
from tests.load.stage import handshake, handshake_to, token

Dialect: TypeAlias = Literal["room", "protocol", "socketio"]
"""A plain room, the client protocol (JSON), or Socket.IO."""

SOCKETIO_CONNECT: Final = Dialogue((Step(b"", b"0{"), Step(b"40", b"40{")), ping=b"2", pong=b"3")
"""Engine.IO's opening packet, then the connect to the default namespace and its answer."""


def request(dialect: Dialect, channel: str, user: str) -> bytes:
    """A client's handshake."""
    if dialect == "room":
        return handshake(channel, user)
    if dialect == "protocol":
        return handshake_to("/connection/websocket")
    return handshake_to("/socket.io/?EIO=4&transport=websocket")


def dialogue(dialect: Dialect, channel: str, user: str) -> Dialogue | None:
    """What a client says after its handshake; a plain room's says nothing."""
    if dialect == "protocol":
        return protocol(user, [subscribe(2, channel)])
    return SOCKETIO_CONNECT if dialect == "socketio" else None


def protocol(user: str, steps: Sequence[Step]) -> Dialogue:
    """Connect to the client protocol with a token; then steps, as an SDK does: each when the last is answered."""
    said = _command(1, "connect", {"token": token(user), "name": "js"})
    return Dialogue((Step(said, b'{"id":1,"connect":{"client":'), *steps), ping=b"{}", pong=b"{}")


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
