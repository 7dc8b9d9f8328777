"""ws_gateway.matching: what matches behind an offset, of a stream that may move or be lost while it is read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from clarion.publications import Publication
from clarion.streams import Slice
from ws_gateway.matching import FILTERED_PAGE, matching_read
from ws_gateway.recovery import Kept, Stream

PAGES = 3
TOP = PAGES * FILTERED_PAGE


class FakeStreams:
    """A stream in memory: every tenth publication matches.

    Attributes:
        on_read: done amid each read, with its number.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.first, self.top, self.epoch = 1, TOP, "e"
        self.reads = 0
        self.on_read: Callable[[int], None] = lambda _number: None

    async def read(self, _channel: str, *, since: int, limit: int) -> Slice:
        self.reads += 1
        self.on_read(self.reads)
        await asyncio.sleep(0)
        offsets = range(max(self.first, since + 1), self.top + 1)[:limit]
        found = [Publication(data=None, offset=offset, epoch=self.epoch) for offset in offsets]
        return Slice(self.top, self.epoch, found)

    async def matches(self, since: int, limit: int = TOP) -> list[int] | None:
        streams: Any = self
        found = await matching_read(streams, "c", self.stream, since, limit, tenth)
        return None if found is None else [kept.publication.offset for kept in found]


def tenth(found: list[Kept]) -> list[Kept]:
    return [kept for kept in found if kept.publication.offset % 10 == 0]


@pytest.fixture
async def streams() -> FakeStreams:
    """All of it has been delivered."""
    stream = Stream(asyncio.get_running_loop().create_future())
    stream.set_position(TOP, "e")
    return FakeStreams(stream)


async def test_it_is_read_page_by_page(streams: FakeStreams) -> None:
    """From the offset to what has been delivered, and no further."""
    assert await streams.matches(5) == list(range(10, TOP + 1, 10))
    assert streams.reads == PAGES
    streams.stream.delivered = TOP - 15
    assert await streams.matches(TOP - 30) == [TOP - 20]
    assert await streams.matches(TOP - 15) == []


async def test_it_follows_what_is_delivered_meanwhile(streams: FakeStreams) -> None:
    """The client joins behind what has been delivered by then: nothing may be missing in between."""

    def deliver(number: int) -> None:
        if number <= 2:
            streams.top = streams.stream.delivered = TOP + 10 * number

    streams.on_read = deliver
    assert await streams.matches(TOP - 10) == [TOP, TOP + 10]
    assert streams.reads == 1  # what was delivered amid the read was read with it
    assert streams.stream.delivered == TOP + 10


async def test_it_ends_over_the_limit(streams: FakeStreams) -> None:
    """No page is read after the one with which it is sure."""
    assert await streams.matches(0, limit=50) is None
    assert streams.reads == 1


async def test_a_stream_that_lost_something_is_not_recovered(streams: FakeStreams) -> None:
    """Its start, or all of it: before, or amid the reading."""
    streams.first = 100
    assert await streams.matches(0) is None
    streams.first = 1

    def lose(number: int) -> None:
        if number == 2:
            streams.first = TOP

    streams.reads, streams.on_read = 0, lose
    assert await streams.matches(0) is None
    streams.first = 1

    def lose_all(number: int) -> None:
        if number == 2:
            streams.epoch, streams.top = "f", 2_500
            streams.stream.reset(2_500, "f")

    streams.reads, streams.on_read = 0, lose_all
    assert await streams.matches(0) is None
