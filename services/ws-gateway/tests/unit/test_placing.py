"""ws_gateway.placing: positions of many new channels."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from clarion.errors import ChannelLayerUnavailable
from clarion.streams import Position
from tests.support.waiting import wait_until_async
from ws_gateway.groups import Group
from ws_gateway.placing import TURN_CHANNELS, Placer
from ws_gateway.recovery import Stream


class FakeStreams:
    """Every channel stands at the length of its name; away as often as a test says."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.away = 0

    async def positions(self, channels: Sequence[str]) -> dict[str, Position]:
        self.asked.append(len(channels))
        await asyncio.sleep(0)
        if self.away:
            self.away -= 1
            raise ChannelLayerUnavailable
        return {channel: Position(len(channel), "epoch") for channel in channels}


class Stage:
    """A placer, and what it did."""

    def __init__(self) -> None:
        self.streams = FakeStreams()
        self.gone: set[Group] = set()
        self.placed: list[Group] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.placer = Placer(
            self.streams,  # type: ignore[arg-type]
            is_current=lambda group: group not in self.gone,
            start=self.start,
            placed=self.placed.append,
        )

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    def add(self, channel: str) -> Group:
        group = Group(channel, channel, Stream(asyncio.get_running_loop().create_future()))
        self.placer.add(group)
        return group


def offset_of(group: Group) -> int:
    assert group.stream is not None
    return group.stream.offset


async def test_placer_asks_for_many_positions_together() -> None:
    """One task, and one round trip for as many as fit into a turn of the loop; who comes meanwhile is in the next."""
    stage = Stage()
    groups = [stage.add(f"kept:{number}") for number in range(2 * TURN_CHANNELS)]
    await asyncio.sleep(0)
    groups.append(stage.add("kept:late"))
    await asyncio.gather(*stage.tasks)
    assert stage.streams.asked == [TURN_CHANNELS, TURN_CHANNELS, 1]
    assert stage.placed == groups
    assert [offset_of(group) for group in groups] == [len(group.channel) for group in groups]
    stage.add("kept:next")
    assert len(stage.tasks) == 2
    await asyncio.gather(*stage.tasks)


async def test_placer_tries_until_redis_is_back() -> None:
    """Nobody is forgotten."""
    stage = Stage()
    stage.streams.away = 2
    group = stage.add("kept:a")
    await wait_until_async(lambda: stage.placed == [group])
    assert offset_of(group) == len("kept:a")


async def test_placer_leaves_out_who_is_gone_or_was_placed_by_a_live_publication() -> None:
    """They are told of all the same, and their position stays as it is."""
    stage = Stage()
    gone, live, waiting = (stage.add(f"kept:{name}") for name in ("gone", "live", "waiting"))
    stage.gone.add(gone)
    assert live.stream is not None
    live.stream.set_position(7, "epoch")
    await asyncio.gather(*stage.tasks)
    assert stage.placed == [gone, live, waiting]
    assert [offset_of(group) for group in stage.placed] == [-1, 7, len("kept:waiting")]
    assert stage.streams.asked == [1]
