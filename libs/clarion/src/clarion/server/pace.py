"""Telling connections that they have to go: at a pace, or whoever takes them over would be asked by all at once."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from clarion.server.connection import Connection

log = logging.getLogger("clarion.server")

FEW_PER_S: Final = 100
"""So many a second are no crowd: fewer connections than this times the pace's seconds are told in less time."""

TURN_S: Final = 0.02
TOLD_IN_A_TURN: Final = 50  # each leaves its groups and is logged: about 10 ms

ANSWERS_S: Final = 5.0
"""How long a connection whose turn it is may take over answers that it still owes."""

ASKED_IN_A_TURN: Final = 500
"""So many of those that still owe something are asked in one turn of the loop: to ask is cheap, to tell is not."""

SETTLE_S: Final = 0.2
SETTLE_AGAIN_S: Final = 1.0
"""A hook that did not answer in time is asked again after so long: each turn would else take as much."""


class Pace:
    """One sending away of some connections.

    Args:
        connections: in the order in which they are told.
        over_s: the time over which they are spread evenly.
        settle: awaited before each turn, for a fifth of a second at most: what is on the way to clients arrives first.
    """

    def __init__(
        self, connections: Sequence[Connection], over_s: float, settle: Sequence[Callable[[], Awaitable[object]]] = ()
    ) -> None:
        self.is_hurried = False
        self._waiting = deque(connections)
        self._owing: deque[tuple[float, Connection]] = deque()  # with the time at which the patience with them ends
        self._count = len(connections)
        self._per_s = max(float(FEW_PER_S), self._count / max(over_s, TURN_S))
        self._settle = settle
        self._settle_at = 0.0

    @property
    def lasts_s(self) -> float:
        """When the last one is told, seconds from the beginning; those that owe answers come later."""
        return self._count / self._per_s

    async def run(self) -> None:
        """Tell all of them."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            due = self._due(loop.time() - began)
            if due:
                await self._settle_all()
            self._tell(due, loop.time())
            if not (self._waiting or self._owing):
                return
            # A room of 10,000 that is sent away in a hurry must not stop the answers to the first.
            await asyncio.sleep(0 if due == TOLD_IN_A_TURN else TURN_S)

    def _due(self, elapsed_s: float) -> int:
        """How many are to be told in this turn; the first one at once."""
        told = self._count - len(self._waiting)
        wanted = self._count if self.is_hurried else min(self._count, int(elapsed_s * self._per_s) + 1)
        return min(wanted - told, TOLD_IN_A_TURN)

    async def _settle_all(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._settle_at:
            return
        try:
            async with asyncio.timeout(SETTLE_S):
                for settle in self._settle:
                    await settle()
        except Exception as exc:  # noqa: BLE001 - a hook's boundary: the clients are to be told, whatever it does
            self._settle_at = loop.time() + SETTLE_AGAIN_S
            log.warning(
                "clients are told without waiting for what is on its way to them: %r",
                exc,
                extra={"event": "settling.failed"},
            )

    def _tell(self, due: int, now: float) -> None:
        may_tell = TOLD_IN_A_TURN - due  # a room that falls silent may let thousands go at once
        for _ in range(min(len(self._owing), ASKED_IN_A_TURN)):
            if may_tell <= 0:
                break
            until, connection = self._owing.popleft()
            if _told(connection, is_last=now >= until):
                may_tell -= 1
            else:
                self._owing.append((until, connection))
        for _ in range(due):
            connection = self._waiting.popleft()
            if not _told(connection, is_last=False):
                self._owing.append((now + ANSWERS_S, connection))


def _told(connection: Connection, *, is_last: bool) -> bool:
    try:
        return connection.drain(is_last=is_last)
    except Exception:  # the others are to be told all the same
        log.exception("a connection failed on its goodbye", extra={"event": "connection.failed"})
        return True
