"""A connection's first bytes: an upgrade goes to the WebSocket half, all else to daphne's HTTP protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.protocols.policies import ProtocolWrapper

from clarion.server.handshake import HEAD_END, MAX_HEAD_BYTES, is_websocket
from clarion.server.losses import Lost

if TYPE_CHECKING:
    from clarion.server.limits import Shared

Door = Callable[[Any, bytes, bytes], None]


class FirstBytes:
    """Twisted's protocol of a new connection, until its request's head is complete."""

    __slots__ = ("_buffer", "_is_last_call", "_shared", "_timeout_s", "_to_http", "_to_websocket", "_transport", "due")

    def __init__(
        self, shared: Shared, timeout_s: float | None, to_websocket: Door, to_http: Callable[[Any, bytes], None]
    ) -> None:
        self.due = 0
        self._shared = shared
        self._timeout_s = timeout_s
        self._to_websocket = to_websocket
        self._to_http = to_http
        self._transport: Any = None
        self._buffer = b""
        self._is_last_call = False

    def makeConnection(self, transport: Any) -> None:  # noqa: N802
        """Wait for the head, with the deadline that is ours until a protocol has one of its own (trap 29)."""
        self._transport = transport
        if self._timeout_s is not None:
            self._shared.wheel.schedule(self, self._timeout_s)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Look at what came; hand it over as soon as it can be told what it is."""
        searched = max(0, len(self._buffer) - 3)
        buffer = self._buffer = self._buffer + data if self._buffer else data
        end = buffer.find(HEAD_END, searched)
        if end < 0 and len(buffer) <= MAX_HEAD_BYTES:
            return
        transport, self._transport = self._transport, None
        self._shared.wheel.cancel(self)
        end += len(HEAD_END)
        # A head that is too long is HTTP's to answer. Frames may stand behind the request: they go along (trap 28).
        if len(HEAD_END) <= end <= MAX_HEAD_BYTES and is_websocket(buffer[:end]):
            self._to_websocket(transport, buffer[:end], buffer[end:])
        else:
            self._to_http(transport, buffer)

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        """The client left before it had asked for anything."""
        self._shared.wheel.cancel(self)
        self._transport = None

    def wake(self) -> None:
        """The head is late. In a storm its bytes may wait unread in the socket: one more turn, then hang up."""
        if self._transport is None:
            return
        if self._is_last_call:
            self._shared.lost[Lost.HANDSHAKE_LATE] += 1
            self._transport.abortConnection()
        else:
            self._is_last_call = True
            self._shared.wheel.schedule(self, 1.0)


def set_protocol(transport: Any, protocol: Any) -> None:
    """Make a protocol the receiver of what a transport reads (as daphne's ``WebRequest.process`` does)."""
    if isinstance(transport, ProtocolWrapper):  # TLS
        transport.wrappedProtocol = protocol
    else:
        transport.protocol = protocol
