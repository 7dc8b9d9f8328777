"""The process-wide limit on bytes that wait for clients (trap 32)."""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

from clarion.server.heap import give_back
from clarion.server.losses import Lost

if TYPE_CHECKING:
    from clarion.server.wheel import Wheel


log = logging.getLogger("clarion.server")

SETTLE_S: Final = 1.0
GIVE_BACK_BYTES: Final = 16 * 2**20
SETTLE_MOST: Final = 2_000  # connections looked at in one turn of the loop: about 1 ms


class Queue(Protocol):
    """What holds waiting bytes."""

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait now."""

    def lose(self, why: Lost) -> None:
        """Give the connection up, with what waits."""


class Budget:
    """Sum what waits for all sockets; over the limit, give up the connections that hold most.

    A limit per connection alone allows limit x connections: Twisted joins the waiting bytes of each socket into
    one object of its own, so that 1 MiB of shared bytes on 100 stalled sockets is 100 MiB. Only connections with
    something waiting are in the table; their numbers are taken anew when the limit seems reached, and every second: a
    socket drains without a word. A second after much of it has gone, the memory is given back to the system.

    Attributes:
        total_bytes: what waits now, as far as it is known.
        due: see :class:`~clarion.server.wheel.Sleeper`.
    """

    def __init__(self, limit_bytes: int, wheel: Wheel) -> None:
        self.limit_bytes = limit_bytes
        self.total_bytes = 0
        self.due = 0
        self._wheel = wheel
        self._queued: dict[Queue, int] = {}
        self._most_bytes = 0  # since memory was given back
        self._is_to_give_back = False

    def note(self, queue: Queue, queued_bytes: int) -> None:
        """Take down what waits for one connection; may give up connections, this one too."""
        self.total_bytes += queued_bytes - self._queued.get(queue, 0)
        self._queued[queue] = queued_bytes
        if self.total_bytes > self._most_bytes:
            self._most_bytes = self.total_bytes
        if not self.due:
            self._wheel.schedule(self, SETTLE_S)
        if self.total_bytes > self.limit_bytes:
            self._relieve()

    def forget(self, queue: Queue) -> None:
        """Drop a connection that has nothing waiting any more."""
        self.total_bytes -= self._queued.pop(queue, 0)

    def wake(self) -> None:
        """Take down what has drained since."""
        for queue in list(islice(self._queued, SETTLE_MOST)):
            self.forget(queue)
            if size := queue.queued_bytes:  # to the end of the table: all have their turn
                self._queued[queue] = size
                self.total_bytes += size
        if self._is_to_give_back:
            give_back()
        # Not now: connections that have just been lost are freed by the reactor, later in this turn.
        self._is_to_give_back = self._most_bytes - self.total_bytes >= GIVE_BACK_BYTES
        if self._is_to_give_back:
            self._most_bytes = self.total_bytes
        if self._queued or self._is_to_give_back:
            self._wheel.schedule(self, SETTLE_S)
        else:
            self._most_bytes = 0

    def _relieve(self) -> None:
        self._queued = {queue: size for queue in self._queued if (size := queue.queued_bytes)}
        self.total_bytes = sum(self._queued.values())
        # Well below the limit, so that the next count is far away.
        if self.total_bytes <= self.limit_bytes * 7 // 8:
            return
        before = self.total_bytes
        for queue in sorted(self._queued, key=self._queued.__getitem__, reverse=True):
            if self.total_bytes <= self.limit_bytes * 3 // 4:
                break
            self.forget(queue)
            queue.lose(Lost.PROCESS_FULL)
        log.warning(
            "queue limit of the process: %d bytes waited, %d are left",
            before,
            self.total_bytes,
            extra={"event": "queue_limit.reached"},
        )
