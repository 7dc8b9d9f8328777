"""Deadlines and pings of all connections on one timer: no timer, no task and no sweep per connection."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
from typing import Protocol

from websockets.frames import CloseCode

log = logging.getLogger("clarion.server")

TICK_S = 0.25
MAX_TICKS = 4  # in one turn
LAGGING_S = 0.1  # a tick this late means that the loop, not a client, is behind


class Sleeper(Protocol):
    """Something that is woken once, at ``due`` (a tick's number; 0: not scheduled)."""

    due: int

    def wake(self) -> None:
        """Do what is due; schedule again from here."""


class Owner(Protocol):
    """Whose the sleeper is: the connection that an exception of its ``wake`` ends."""

    @property
    def is_ended(self) -> bool:
        """Nothing of its is woken any more."""

    def fail(self, code: int, reason: str = "") -> None:
        """End because of a fault."""


class Wheel:
    """Buckets of sleepers by the tick at which they are due.

    Attributes:
        now: seconds on the loop's clock at the last tick; cheap to read and precise to :data:`TICK_S`.
        patience: seconds that passed while the loop kept up. Handshake deadlines count these: in a storm of
            connects the clients wait for this process, and cutting them would only make them come again.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.patience = 0.0
        self._tick = 0
        self._buckets: dict[int, dict[Sleeper, Owner | None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to turn on this loop."""
        self._loop = loop
        self.now = loop.time()
        self._arm()

    def schedule(self, sleeper: Sleeper, delay_s: float, owner: Owner | None = None) -> None:
        """Wake a sleeper after a delay, in place of what was scheduled before. Never early."""
        if sleeper.due:
            self.cancel(sleeper)
        # One tick more: the current one has begun already.
        sleeper.due = due = self._tick + 1 + max(1, math.ceil(delay_s / TICK_S))
        bucket = self._buckets.get(due)
        if bucket is None:
            self._buckets[due] = {sleeper: owner}
        else:
            bucket[sleeper] = owner

    def cancel(self, sleeper: Sleeper) -> None:
        """Forget a sleeper, so that the wheel does not keep it alive."""
        bucket = self._buckets.get(sleeper.due)
        if bucket is not None:
            bucket.pop(sleeper, None)
        sleeper.due = 0

    def _arm(self) -> None:
        assert self._loop is not None
        # In a context of its own: a timer that is armed in a task would keep the task's variables alive.
        self._loop.call_at(self.now + TICK_S, self._turn, context=contextvars.Context())

    def _turn(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        elapsed = now - self.now
        self.now = now
        if elapsed < TICK_S + LAGGING_S:
            self.patience += TICK_S
        try:
            # After a pause of the whole process the missed buckets are not made up for at once: their timeouts
            # would be decided before the sockets were read.
            for _ in range(min(MAX_TICKS, max(1, int(elapsed / TICK_S)))):
                self._tick += 1
                for sleeper, owner in self._buckets.pop(self._tick, {}).items():
                    if sleeper.due == self._tick:
                        sleeper.due = 0
                        _wake(sleeper, owner)
        finally:
            self._arm()


def _wake(sleeper: Sleeper, owner: Owner | None) -> None:
    if owner is not None and owner.is_ended:
        return
    try:
        sleeper.wake()
    except Exception:  # one connection's fault must not stop the wheel for all
        log.exception("a timed check of %r failed", sleeper, extra={"event": "timer.failed"})
        if owner is not None:
            owner.fail(CloseCode.INTERNAL_ERROR)
