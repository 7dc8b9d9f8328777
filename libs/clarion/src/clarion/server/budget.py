"""The process-wide limit on bytes that wait for clients (trap 32)."""

from __future__ import annotations

import logging
from typing import Protocol

log = logging.getLogger("clarion.server")


class Queue(Protocol):
    """What holds waiting bytes."""

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait now."""

    def lose(self, why: str) -> None:
        """Give the connection up, with what waits."""


class Budget:
    """Sum what waits for all sockets; over the limit, give up the connections that hold most.

    A limit per connection alone allows limit x connections: Twisted joins the waiting bytes of each socket into
    one object of its own, so that 1 MiB of shared bytes on 100 stalled sockets is 100 MiB. Only connections with
    something waiting are in the table; their numbers are taken anew when the limit seems reached.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.total_bytes = 0
        self._queued: dict[Queue, int] = {}

    def note(self, queue: Queue, queued_bytes: int) -> None:
        """Take down what waits for one connection; may give up connections, this one too."""
        self.total_bytes += queued_bytes - self._queued.get(queue, 0)
        self._queued[queue] = queued_bytes
        if self.total_bytes > self.limit_bytes:
            self._relieve()

    def forget(self, queue: Queue) -> None:
        """Drop a connection that has nothing waiting any more."""
        self.total_bytes -= self._queued.pop(queue, 0)

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
            queue.lose("the process holds too many bytes that wait for clients")
        log.warning("queue limit of the process: %d bytes waited, %d are left", before, self.total_bytes)
