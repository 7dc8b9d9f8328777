"""The outbound half of every connection, WebSocket or HTTP stream: ready bytes to the socket, what waits, the end."""

from __future__ import annotations

import contextvars
import logging
from errno import EAGAIN, ENOBUFS, EWOULDBLOCK
from typing import TYPE_CHECKING, Any, Final

from clarion.server.backlog import Backlog
from clarion.server.losses import Lost
from clarion.server.transports import TcpTransport, UnixTransport

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from clarion.server.limits import Shared

log = logging.getLogger("clarion.server")

_FULL = frozenset((EAGAIN, EWOULDBLOCK, ENOBUFS))

# How a connection keeps up.
KEEPS_UP: Final = 0
IS_SLOW: Final = 1  # too much waits: what is written is dropped
SAYS_SO: Final = 2  # its goodbye may wait behind it, whatever the limit


class Writer:
    """Writes to one transport.

    Attributes:
        open: bytes may be written. False before the answer to the request, and for good from the moment that the end
            is seen or sent or the socket is lost.
    """

    __slots__ = ("_backlog", "_fast", "_shared", "_slow", "_socket", "_transport", "open")

    def __init__(self, shared: Shared) -> None:
        self.open = False
        self._shared = shared
        self._transport: Any = None
        # The socket object, never its number: after the close `send` fails, while the number may by then belong
        # to a stranger (trap 1). None on TLS, whose transport passes every attribute through to the TCP transport
        # below: a raw send would go out in clear (trap 2).
        self._socket: socket.socket | None = None
        # `socket.send` while the connection is open and nothing waits, else None: the one check of `write`.
        self._fast: Callable[[bytes], int] | None = None
        self._backlog: Backlog | None = None  # while a large reply is under way
        self._slow = KEEPS_UP

    @property
    def queued_bytes(self) -> int:
        """Bytes that were written and wait for the socket, large replies included."""
        transport = self._transport
        if transport is None:
            return 0
        waiting = 0 if self._backlog is None else self._backlog.waiting_bytes
        if self._socket is None:
            return waiting + _queued_behind_tls(transport)
        queued: int = transport._tempDataLen + len(transport.dataBuffer) - transport.offset
        return waiting + queued

    @property
    def large_bytes(self) -> int:
        """What of :attr:`queued_bytes` belongs to large replies; 0: none is under way."""
        return 0 if self._backlog is None else self._backlog.large_bytes

    def write(self, frames: bytes) -> None:
        """Write ready bytes (:func:`~clarion.server.text_frame`): at once if nothing waits, else behind it.

        Nothing happens unless the connection is open. A write that would make more than ``max_queued_bytes`` wait
        is dropped and ends the connection: from the event loop, never from inside this call, the session is asked to
        say goodbye (:meth:`clarion.server.connection.Connection.say_slow`). (One write may be larger than the limit,
        if nothing waits before it.)
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
                self.lose(Lost.SEND_FAILED, str(exc))
                return
            sent = 0
        if sent != len(frames):
            self._queue(frames[sent:])

    def write_large(self, pieces: Iterable[bytes]) -> None:
        """Write a reply to the client's own command, however large: it goes out as the socket takes it.

        It does not count as waiting for a slow reader: what is written behind it has ``max_queued_bytes`` for itself,
        and goes out behind it. The connection is given up when the client takes nothing for ten seconds, and when
        more than ``max_large_bytes`` would wait (one reply may be larger, if none waits before it).

        Args:
            pieces: ready bytes, as for :meth:`write`; one frame of ten megabytes, or ten thousand small ones.
        """
        if not self.open:
            return
        if self._backlog is not None:
            self._backlog.add_large(pieces)
        else:
            backlog = Backlog(self, self._transport, self._shared, self._all_handed_over)
            backlog.add_large(pieces)
            if not backlog.send_at_once():
                return
            self._fast = None
            self._backlog = backlog
            backlog.start()
        self._note()

    def lose(self, why: Lost, detail: str = "") -> None:
        """Give the connection up: what waits is dropped, the peer sees a reset (1006)."""
        transport = self._transport
        if transport is None:
            return
        log.debug("connection given up: %s %s", why, detail, extra={"event": "connection.lost"})
        if not self._slow:  # else it was counted then
            self._shared.lost[why] += 1
        self._release()
        # The reactor does it later, so nobody's `connectionLost` runs inside a loop over members (trap 10).
        transport.abortConnection()

    def too_slow(self) -> None:
        """End the connection of a client that reads too slowly, from the event loop; until then writes are dropped."""
        if not self._slow:
            self._slow = IS_SLOW
            self._fast = None
            self._shared.lost[Lost.SLOW] += 1
            call_soon(self._shared, self.say_slow)

    def say_slow(self) -> None:
        """Say goodbye, behind what waits."""
        raise NotImplementedError

    @property
    def is_slow(self) -> bool:
        """Too much waits: what is written is dropped, and the end is near."""
        return self._slow != KEEPS_UP

    # Inside

    def _attach(self, transport: Any) -> None:
        """Write to this transport from here on."""
        self._transport = transport
        plain = type(transport) in (TcpTransport, UnixTransport) and not transport.TLS
        self._socket = transport.socket if plain else None
        # Twisted does not (trap 25): a reply and a publication after it took 39 ms instead of 0.01.
        transport.setTcpNoDelay(True)

    def _begin(self) -> None:
        """Open; an answer to an earlier request of this connection may still wait, and goes first (trap 45)."""
        self.open = True
        if self._socket is not None and not self.queued_bytes:
            self._fast = self._socket.send

    def _write_behind(self, data: bytes) -> None:
        """Write where something may wait, or where only the transport may write (TLS)."""
        if not self.open or self._slow == IS_SLOW:
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
        backlog = self._backlog
        queued = self.queued_bytes if backlog is None else backlog.later_bytes
        if self._slow != SAYS_SO:
            # Every write counts, pongs too: a client that pings and does not read queued 83 MB of them (trap 21).
            if queued and queued + len(data) > self._shared.max_queued_bytes:
                self.too_slow() if self.open else self.lose(Lost.SLOW)
                return
            if self._slow:
                return
        if backlog is not None:  # behind it, or it would overtake a large reply (trap 51)
            backlog.add_later(data)
            self._note()
        else:
            transport.write(data)
            self._shared.budget.note(self, queued + len(data))

    def _note(self) -> None:
        if self._transport is not None:
            self._shared.budget.note(self, self.queued_bytes)

    def _all_handed_over(self) -> None:
        backlog, self._backlog = self._backlog, None
        if backlog is not None:
            backlog.stop()
            self._note()
            if backlog.ends:
                self._end_stream()

    def _end_stream(self) -> None:
        """Half-close, and keep reading: the client's answer, or its data, must not meet a closed socket (trap 8)."""
        transport = self._transport
        if transport is None:
            return
        if self._backlog is not None:
            self._backlog.ends = True
        elif self._socket is not None:
            # `b""` is ignored by `transport.write`, so the stream would never end (trap 3).
            transport.loseWriteConnection()
        else:
            transport.loseConnection()

    def _shut(self) -> None:
        """Write nothing of the session's from here on (trap 4)."""
        self.open = False
        self._fast = None

    def _release(self) -> None:
        """Keep nothing of a socket that is gone."""
        self._shut()
        backlog, self._backlog = self._backlog, None
        if backlog is not None:
            backlog.stop()
        self._shared.budget.forget(self)
        self._transport = self._socket = None


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
