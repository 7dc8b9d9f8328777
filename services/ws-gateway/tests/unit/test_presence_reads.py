"""ws_gateway.presence.reads: shared, never stale."""

from __future__ import annotations

import asyncio

import pytest

from ws_gateway.presence.reads import SharedReads


class Source:
    """Something to read that can be held up."""

    def __init__(self) -> None:
        self.value = 0
        self.reads = 0
        self.begun, self.go = asyncio.Event(), asyncio.Event()

    async def read(self, name: str) -> tuple[str, int]:
        self.reads += 1
        value = self.value
        self.begun.set()
        await self.go.wait()
        if value < 0:
            raise ValueError(name)
        return name, value


async def test_who_asks_amid_a_read_shares_the_next_one() -> None:
    """An answer is never older than its question, and two reads serve any number."""
    source = Source()
    reads = SharedReads(source.read)
    async with asyncio.timeout(20):
        first = asyncio.ensure_future(reads.read("a"))
        await source.begun.wait()
        source.value = 1
        others = [asyncio.ensure_future(reads.read("a")) for _ in range(50)]
        await asyncio.sleep(0)
        source.go.set()
        assert await first == ("a", 0)
        assert set(await asyncio.gather(*others)) == {("a", 1)}
        assert source.reads == 2
        source.value = 2
        assert await reads.read("a") == ("a", 2)
        assert not reads._running
        assert not reads._next


async def test_reads_of_different_things_do_not_wait_for_each_other() -> None:
    """One channel's read is not behind another's."""
    source = Source()
    reads = SharedReads(source.read)
    asked = [asyncio.ensure_future(reads.read(name)) for name in "abc"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert source.reads == 3
    source.go.set()
    async with asyncio.timeout(20):
        assert [name for name, _ in await asyncio.gather(*asked)] == ["a", "b", "c"]


async def test_who_gives_up_takes_nothing_from_the_others() -> None:
    """The first one is cancelled; the second still gets the answer."""
    source = Source()
    reads = SharedReads(source.read)
    async with asyncio.timeout(20):
        asked = [asyncio.ensure_future(reads.read("a")) for _ in range(3)]
        await asyncio.sleep(0)
        asked[0].cancel()
        asked[1].cancel()
        source.go.set()
        assert await asked[2] == ("a", 0)


async def test_an_error_reaches_all_who_shared_and_nobody_else() -> None:
    """The next read is a new one."""
    source = Source()
    source.value = -1
    source.go.set()
    reads = SharedReads(source.read)
    async with asyncio.timeout(20):
        found = await asyncio.gather(*(reads.read("a") for _ in range(3)), return_exceptions=True)
        assert [type(error) for error in found] == [ValueError] * 3
        source.value = 1
        assert await reads.read("a") == ("a", 1)


async def test_stop_ends_what_is_under_way() -> None:
    """Nobody waits for ever."""
    source = Source()
    reads = SharedReads(source.read)
    asked = [asyncio.ensure_future(reads.read("a")) for _ in range(3)]
    await asyncio.sleep(0)
    await reads.stop()
    for task in asked:
        with pytest.raises(asyncio.CancelledError):
            await task
