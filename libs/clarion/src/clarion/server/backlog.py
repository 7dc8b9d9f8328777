"""Large replies to a client's own commands: handed to the transport piece by piece, as the socket drains."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from clarion.server.losses import Lost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from clarion.server.limits import Shared
    from clarion.server.writer import Writer

WINDOW_BYTES: Final = 128 * 1024  # what Twisted sends at a time; twice what it buffers before it pauses a producer
WINDOWS_AT_ONCE: Final = 8  # sent in one turn of the loop, while the socket takes them
STALL_S: Final = 10.0
CHECK_S: Final = 2.5


class Backlog:
    """What waits before one connection's transport: large replies, and whatever was written behind them.

    It lives from a large reply that the socket did not take at once until the transport has everything, and is the
    transport's producer so long (Twisted's IPushProducer): asked for more whenever the transport's buffer is empty.
    The large part does not count as a slow reader's, as long as it moves; the rest does.

    Attributes:
        large_bytes: of large replies, not yet handed over.
        later_bytes: of ordinary writes behind them.
        ends: half-close when all is handed over.
    """

    __slots__ = (
        "_done",
        "_gone_bytes",
        "_is_paused",
        "_items",
        "_moved_at",
        "_offset",
        "_shared",
        "_total_bytes",
        "_transport",
        "_writer",
        "due",
        "ends",
        "large_bytes",
        "later_bytes",
    )

    def __init__(self, writer: Writer, transport: Any, shared: Shared, done: Callable[[], None]) -> None:
        self.due = 0
        self.ends = False
        self.large_bytes = 0
        self.later_bytes = 0
        self._writer = writer
        self._transport = transport
        self._shared = shared
        self._done = done
        self._items: deque[tuple[bytes, bool]] = deque()  # with True: part of a large reply
        self._offset = 0  # what of the first item is handed over
        self._is_paused = False
        self._total_bytes = writer.queued_bytes  # that have ever waited
        self._gone_bytes = 0  # and that were gone when the socket last took any
        self._moved_at = shared.wheel.now

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the transport does not know of yet."""
        return self.large_bytes + self.later_bytes

    def add_large(self, pieces: Iterable[bytes]) -> None:
        """Put a large reply behind what waits."""
        added = [(piece, True) for piece in pieces if piece]
        size = sum(len(piece) for piece, _ in added)
        if self.large_bytes and self.large_bytes + size > self._shared.max_large_bytes:
            self._writer.lose(Lost.GREEDY)
            return
        self._items.extend(added)
        self.large_bytes += size
        self._total_bytes += size

    def add_later(self, data: bytes) -> None:
        """Put an ordinary write behind the large replies; the writer looks that it may."""
        self._items.append((data, False))
        self.later_bytes += len(data)
        self._total_bytes += len(data)

    def send_at_once(self) -> bool:
        """Write what the socket takes in this turn of the loop; tell whether anything is left."""
        for _ in range(WINDOWS_AT_ONCE):
            if not self._items or self._writer.queued_bytes:
                break
            self._writer.write(self._window())
        return bool(self._items) and self._writer.open

    def start(self) -> None:
        """Hand the rest to the transport as it asks for it."""
        self._shared.wheel.schedule(self, CHECK_S)
        self._transport.registerProducer(self, True)
        self._go_on()

    def stop(self) -> None:
        """Everything is handed over, or lost."""
        self._items.clear()
        self.large_bytes = self.later_bytes = 0
        self._shared.wheel.cancel(self)
        self._transport.unregisterProducer()  # it would make the stream's end hang (trap 7)

    # Twisted's IPushProducer

    def pauseProducing(self) -> None:  # noqa: N802
        """The transport has enough."""
        self._is_paused = True

    def resumeProducing(self) -> None:  # noqa: N802
        """The transport's buffer is empty."""
        self._is_paused = False
        self._go_on()

    def stopProducing(self) -> None:  # noqa: N802
        """The transport is gone; `connectionLost` says so to everybody."""

    # Inside

    def _go_on(self) -> None:
        while self._items and not self._is_paused:
            self._transport.write(self._window())
        if not self._is_paused:
            self._done()

    def _window(self) -> bytes:
        """Take what goes in one write: small pieces joined, a large one cut."""
        parts = []
        room = WINDOW_BYTES
        while room and self._items:
            data, is_large = self._items[0]
            part = data[self._offset : self._offset + room]
            self._offset += len(part)
            if self._offset == len(data):
                self._items.popleft()
                self._offset = 0
            if is_large:
                self.large_bytes -= len(part)
            else:
                self.later_bytes -= len(part)
            room -= len(part)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def wake(self) -> None:
        """Give up a client that takes nothing of its reply."""
        now = self._shared.wheel.now
        gone = self._total_bytes - self._writer.queued_bytes  # not what is left: a room adds to it (trap 49)
        if gone != self._gone_bytes:
            self._gone_bytes = gone
            self._moved_at = now
        elif now - self._moved_at >= STALL_S:
            self._writer.lose(Lost.REPLY_STALLED)
            return
        self._shared.wheel.schedule(self, CHECK_S)
