"""The outbound half of a WebSocket: ready frames to the socket, what waits, the close handshake.

A :class:`Connection` is what a session writes to. Its inbound half is :class:`clarion.server.websocket.WebSocket`.
"""

from __future__ import annotations

import contextvars
import logging
from errno import EAGAIN, ENOBUFS, EWOULDBLOCK
from typing import TYPE_CHECKING, Any

from websockets.protocol import OPEN, SEND_EOF

from clarion.server import frames
from clarion.server.transports import TcpTransport, UnixTransport

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from websockets.server import ServerProtocol

    from clarion.server.limits import Shared

log = logging.getLogger("clarion.server")

CLOSE_TIMEOUT_S = 5.0

_FULL = frozenset((EAGAIN, EWOULDBLOCK, ENOBUFS))


class Connection:
    """One socket, as its session sees it.

    Attributes:
        open: frames may be written. False from the moment that a Close frame is seen or sent or the socket is
            lost, for good.
        client: address and port of the client (behind a proxy: as the proxy's header says), None on a unix socket.
    """

    __slots__ = ("_fast", "_protocol", "_shared", "_socket", "_transport", "client", "open")

    def __init__(self, shared: Shared, transport: Any, client: tuple[str, int] | None) -> None:
        self.open = False  # until the 101 is written
        self.client = client
        self._shared = shared
        self._transport = transport
        self._protocol: ServerProtocol | None = None
        # The socket object, never its number: after the close `send` fails, while the number may by then belong
        # to a stranger (trap 1). None on TLS, whose transport passes every attribute through to the TCP transport
        # below: a raw send would go out in clear (trap 2).
        plain = type(transport) in (TcpTransport, UnixTransport) and not transport.TLS
        self._socket: socket.socket | None = transport.socket if plain else None
        # `socket.send` while the connection is open and nothing waits, else None: the one check of `write`.
        self._fast: Callable[[bytes], int] | None = None

    @property
    def queued_bytes(self) -> int:
        """Bytes that were written and wait for the socket."""
        transport = self._transport
        if transport is None:
            return 0
        if self._socket is not None:
            return transport._tempDataLen + len(transport.dataBuffer) - transport.offset  # type: ignore[no-any-return]
        return _queued_behind_tls(transport)

    def write(self, frames: bytes) -> None:
        """Write ready frames (:func:`~clarion.server.text_frame`): at once if nothing waits, else behind it.

        Nothing happens unless the connection is open. A write that would make more than ``max_queued_bytes`` wait
        gives the connection up: ``session.closed(1006)`` follows from the event loop, never from inside this call.
        (One write may be larger than the limit, if nothing waits before it.)
        """
        send = self._fast
        if send is None:
            self._write_behind(frames)
            return
        try:
            sent = send(frames)
        except OSError as exc:
            if exc.errno not in _FULL:
                # Reading may be paused, so nobody else would notice that the peer is gone (trap 9).
                self.lose(f"send failed: {exc}")
                return
            sent = 0
        if sent != len(frames):
            self._queue(frames[sent:])

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start the close handshake; what was written before goes out before it.

        The peer has five seconds to take it and to answer. Codes and reasons that may not stand in a Close frame
        are clamped. A second call does nothing. ``session.closed`` follows from the event loop.
        """
        if not self.open:
            return
        assert self._protocol is not None
        # Through the protocol: a raw Close frame beside it makes it echo a second one (trap 17).
        self._protocol.send_close(frames.close_code(code), frames.close_reason(reason))
        self._flush()
        self._shut()
        self._closing()

    def lose(self, why: str) -> None:
        """Give the connection up: what waits is dropped, the peer sees a reset (1006)."""
        transport = self._transport
        if transport is None:
            return
        log.debug("connection given up: %s", why)
        self._shut()
        self._transport = None
        self._shared.budget.forget(self)
        # The reactor does it later, so nobody's `connectionLost` runs inside a loop over members (trap 10).
        transport.abortConnection()

    # Inside

    def _write_behind(self, data: bytes) -> None:
        """Write where something may wait, or where only the transport may write (TLS)."""
        if not self.open:
            return
        if self._socket is not None and not self.queued_bytes:
            self._shared.budget.forget(self)
            self._fast = self._socket.send
            self.write(data)
        else:
            self._queue(data)

    def _queue(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or not data:
            return
        self._fast = None
        # Every write counts, pongs too: a client that pings and does not read queued 83 MB of them (trap 21).
        queued = self.queued_bytes
        if queued and queued + len(data) > self._shared.max_queued_bytes:
            self.lose("it reads too slowly")
            return
        transport.write(data)
        self._shared.budget.note(self, queued + len(data))

    def _flush(self) -> None:
        """Send what the protocol wants to say: Close frames, pongs, the end of the stream."""
        assert self._protocol is not None
        said = self._protocol.data_to_send()
        if not said:
            return
        ends = said[-1] == SEND_EOF
        data = b"".join(said)
        if self.open:
            self.write(data)
        else:
            self._queue(data)
        if ends:
            self._shut()
            self._end_stream()

    def _end_stream(self) -> None:
        """Half-close, and keep reading: the client's answer, or its data, must not meet a closed socket (trap 8)."""
        transport = self._transport
        if transport is None:
            return
        if self._socket is not None:
            # `b""` is ignored by `transport.write`, so the stream would never end (trap 3).
            transport.loseWriteConnection()
        else:
            transport.loseConnection()

    def _shut(self) -> None:
        """Write nothing of the session's from here on (trap 4)."""
        self.open = False
        self._fast = None

    def _closing(self) -> None:
        """Go on after a Close frame was sent or seen; the inbound half knows how."""
        raise NotImplementedError

    def _opened(self, protocol: ServerProtocol) -> None:
        assert protocol.state is OPEN
        self._protocol = protocol
        self.open = True
        if self._socket is not None:
            self._fast = self._socket.send


def _queued_behind_tls(transport: Any) -> int:
    """Count plain bytes before the TLS layer, and cipher bytes behind it."""
    below = getattr(transport, "transport", None)
    queued = sum(map(len, getattr(transport, "_appSendBuffer", ())))
    aggregator = getattr(transport, "_aggregator", None)
    queued += sum(map(len, getattr(aggregator, "_buffer", ())))
    if below is not None and hasattr(below, "dataBuffer"):
        queued += below._tempDataLen + len(below.dataBuffer) - below.offset
    return queued


def call_soon(shared: Shared, function: Callable[..., object], *args: object) -> None:
    """Call from the event loop, in a context of its own.

    A callback that is scheduled, or a socket that is watched again, inside an application's ``send()`` would else
    run with that task's context variables and keep them alive (trap 24).
    """
    shared.loop.call_soon(function, *args, context=contextvars.Context())
