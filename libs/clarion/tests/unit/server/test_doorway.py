"""The line of new connections, without sockets."""

from __future__ import annotations

import asyncio
import logging

import pytest

from clarion.server.doorway import PER_TURN, Doorway


class Crowd:
    """Guests who note when they are let in."""

    def __init__(self) -> None:
        self.inside: list[int] = []
        self.turned_away: list[int] = []


class Guest:
    def __init__(self, crowd: Crowd, number: int, *, fails: bool = False) -> None:
        self.crowd, self.number, self.fails = crowd, number, fails

    def enter(self) -> None:
        if self.fails:
            raise RuntimeError("raised by enter()")
        self.crowd.inside.append(self.number)

    def turn_away(self) -> None:
        self.crowd.turned_away.append(self.number)


async def test_doorway_lets_in_at_once_while_nobody_waits() -> None:
    """The first of a turn wait for nothing, in every turn."""
    door, crowd = Doorway(asyncio.get_running_loop()), Crowd()
    for turn in range(3):
        for number in range(PER_TURN):
            door.arrive(Guest(crowd, number))
        assert len(crowd.inside) == (turn + 1) * PER_TURN
        assert not len(door)
        await asyncio.sleep(0)


async def test_doorway_keeps_the_order() -> None:
    """A few a turn; who comes meanwhile goes behind those who wait, even if the turn has room."""
    door, crowd = Doorway(asyncio.get_running_loop()), Crowd()
    for number in range(3 * PER_TURN):
        door.arrive(Guest(crowd, number))
    assert len(crowd.inside) == PER_TURN
    asyncio.get_running_loop().call_soon(lambda: door.arrive(Guest(crowd, 3 * PER_TURN)))
    turns = 0
    while len(door):
        before = len(crowd.inside)
        await asyncio.sleep(0)
        turns += 1
        assert len(crowd.inside) - before <= PER_TURN
    assert crowd.inside == list(range(3 * PER_TURN + 1))
    assert turns >= 3


async def test_doorway_outlives_a_guest_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """One connection's fault is logged and ends that one alone."""
    door, crowd = Doorway(asyncio.get_running_loop()), Crowd()
    with caplog.at_level(logging.ERROR):
        for number in range(2 * PER_TURN):
            door.arrive(Guest(crowd, number, fails=number in (1, PER_TURN + 1)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert not len(door)
    assert crowd.turned_away == [1, PER_TURN + 1]
    assert len(crowd.inside) == 2 * PER_TURN - 2
    assert len(caplog.records) == 2
