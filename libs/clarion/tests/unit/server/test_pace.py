"""clarion.server.pace: how many are told in one turn of the loop."""

from __future__ import annotations

import asyncio
from typing import Any

from clarion.server.pace import TOLD_IN_A_TURN, Pace
from tests.support.waiting import wait_until_async


class Owing:
    """A connection that owes something until the room falls silent."""

    is_silent = False
    told: list[float]

    def drain(self, *, is_last: bool) -> bool:
        if not (self.is_silent or is_last):
            return False
        self.told.append(asyncio.get_running_loop().time())
        return True


async def test_those_that_waited_for_the_same_are_told_at_a_pace() -> None:
    """A large room that falls silent frees all its clients at once: they go in turns all the same."""

    class Room(Owing):
        told: list[float] = []

    connections: list[Any] = [Room() for _ in range(400)]
    pace = Pace(connections, 0.0)
    running = asyncio.create_task(pace.run())
    await wait_until_async(lambda: not pace._waiting)
    assert Room.told == []
    Room.is_silent = True
    turns = []
    while len(Room.told) < 400:
        before = len(Room.told)
        await asyncio.sleep(0)
        turns.append(len(Room.told) - before)
    await running
    assert max(turns) <= TOLD_IN_A_TURN
