"""A connection's first bytes: an upgrade goes to the WebSocket half, all else to daphne's HTTP protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.protocols.policies import ProtocolWrapper

from clarion.server.handshake import HEAD_END, MAX_HEAD_BYTES, is_websocket
from clarion.server.losses import Lost

if TYPE_CHECKING:
    from clarion.server.server import Server

MAX_WAITING_BYTES: Final = MAX_HEAD_BYTES + 65536
"""Of one connection in line; over it the socket is not read until its turn."""


class FirstBytes:
    """Twisted's protocol of a new connection, until its request's head is complete and its turn has come."""

    __slots__ = ("_buffer", "_head_end", "_is_last_call", "_is_paused", "_server", "_transport", "due")

    def __init__(self, server: Server) -> None:
        self.due = 0
        self._server = server
        self._transport: Any = None
        self._buffer = b""
        self._head_end = 0  # of a complete request for an upgrade; -1: it is HTTP's
        self._is_last_call = False
        self._is_paused = False

    def makeConnection(self, transport: Any) -> None:  # noqa: N802
        """Wait for the head, with the deadline that is ours until a protocol has one of its own (trap 29)."""
        self._transport = transport
        if self._server.head_timeout_s is not None:
            self._server.shared.wheel.schedule(self, self._server.head_timeout_s)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Look at what came; as soon as it can be told what it is, join the line."""
        searched = max(0, len(self._buffer) - 3)
        buffer = self._buffer = self._buffer + data if self._buffer else data
        if self._head_end:
            self._wait_in_line()
            return
        end = buffer.find(HEAD_END, searched)
        if end < 0 and len(buffer) <= MAX_HEAD_BYTES:
            return
        self._server.shared.wheel.cancel(self)
        end += len(HEAD_END)
        # A head that is too long is HTTP's to answer.
        if len(HEAD_END) <= end <= MAX_HEAD_BYTES and is_websocket(buffer[:end]):
            self._head_end = end
            self._server.websocket_door.arrive(self)
        else:
            self._head_end = -1
            self._server.http_door.arrive(self)

    def _wait_in_line(self) -> None:
        if len(self._buffer) > MAX_WAITING_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pauseProducing()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        """The client left before it had asked for anything, or before its turn."""
        self._server.shared.wheel.cancel(self)
        self._transport = None

    # The doorway's side

    def enter(self) -> None:
        """Hand the connection over. Frames may stand behind the request: they go along (trap 28)."""
        transport, buffer, end = self._transport, self._buffer, self._head_end
        if transport is None:
            return
        if self._is_paused:
            transport.resumeProducing()
        if end > 0:
            self._server.begin_websocket(transport, buffer[:end], buffer[end:])
        else:
            self._server.http_factory.begin_http(transport, buffer)
        self._transport = None

    def turn_away(self) -> None:
        """Hang up: what should have taken the connection over has failed."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abortConnection()

    def wake(self) -> None:
        """The head is late. In a storm its bytes may wait unread in the socket: one more turn, then hang up."""
        if self._transport is None:
            return
        if self._is_last_call:
            self._server.shared.lost[Lost.HANDSHAKE_LATE] += 1
            self._transport.abortConnection()
        else:
            self._is_last_call = True
            self._server.shared.wheel.schedule(self, 1.0)


def set_protocol(transport: Any, protocol: Any) -> None:
    """Make a protocol the receiver of what a transport reads (as daphne's ``WebRequest.process`` does)."""
    if isinstance(transport, ProtocolWrapper):  # TLS
        transport.wrappedProtocol = protocol
    else:
        transport.protocol = protocol
