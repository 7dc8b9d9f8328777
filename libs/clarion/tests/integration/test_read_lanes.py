"""clarion.read_lanes on a real Redis: many reads at once are answered, and fail together when Redis is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from clarion.errors import ChannelLayerUnavailable
from clarion.layers import ClarionChannelLayer
from clarion.namespaces import ClarionConfig, config_parse
from clarion.read_lanes import BATCH, LANES
from clarion.streams import Streams
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until_async

CONFIG: ClarionConfig = config_parse(
    {"channel": {"namespaces": [{"name": "kept", "history_size": 5, "history_ttl": "300s"}]}}
)
CHANNELS = 2_000


@pytest.fixture
async def layer(redis_server: RedisServer) -> AsyncIterator[ClarionChannelLayer]:
    layer = ClarionChannelLayer([redis_server.url], config=CONFIG)
    yield layer
    await layer.flush()


@pytest.fixture
async def streams(redis_server: RedisServer, layer: ClarionChannelLayer) -> AsyncIterator[Streams]:
    streams = Streams([redis_server.url], timeout_s=2.0, config=CONFIG, decode=layer.deserialize)
    yield streams
    await streams.close()


def reads_processed(redis_server: RedisServer) -> int:
    with redis_server.client() as client:
        return int(client.info("stats")["total_reads_processed"])


async def test_reads_at_once_travel_together_and_each_gets_its_own_answer(
    redis_server: RedisServer, streams: Streams, layer: ClarionChannelLayer
) -> None:
    """However many there are; Redis gets them in a few pieces."""
    for number in range(0, CHANNELS, 10):
        await layer.publish(f"kept:{number}", number)
    before = reads_processed(redis_server)
    found = await asyncio.gather(*(streams.read(f"kept:{number}") for number in range(CHANNELS)))
    assert reads_processed(redis_server) - before < CHANNELS / 4
    for number, each in enumerate(found):
        assert [publication.data for publication in each.publications] == ([] if number % 10 else [number])


async def test_reads_whose_caller_is_gone_leave_the_others_alone(streams: Streams) -> None:
    """Cancelled while they wait, or while they are under way."""
    tasks = [asyncio.create_task(streams.read(f"kept:{number}")) for number in range(LANES + 3 * BATCH)]
    await asyncio.sleep(0)
    gone = {*tasks[1:LANES:2], *tasks[LANES : LANES + 2 * BATCH : 2]}
    for task in gone:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    for task, answer in zip(tasks, answers, strict=True):
        assert isinstance(answer, asyncio.CancelledError) if task in gone else not isinstance(answer, BaseException)
    assert (await streams.read("kept:0")).offset == 0


async def test_reads_are_answered_though_redis_forgot_the_script(redis_server: RedisServer, streams: Streams) -> None:
    """Those that travel together as well."""
    await streams.read("kept:0")
    with redis_server.client() as client:
        client.script_flush()
    found = await asyncio.gather(*(streams.read("kept:0") for _ in range(LANES + 3 * BATCH)))
    assert {each.offset for each in found} == {0}


async def test_reads_fail_together_when_redis_does_not_answer(redis_server: RedisServer, streams: Streams) -> None:
    """Not one batch after the other, each after its own deadline; afterwards reads are answered again."""
    await streams.read("kept:0")
    redis_server.pause()
    began = time.monotonic()
    reads = (streams.read(f"kept:{number}") for number in range(CHANNELS))
    answers = await asyncio.gather(*reads, return_exceptions=True)
    took_s = time.monotonic() - began
    redis_server.resume()
    assert {type(answer) for answer in answers} == {ChannelLayerUnavailable}
    assert took_s < 12  # some deadlines, not CHANNELS / BATCH of them
    assert (await streams.read("kept:0")).offset == 0


async def test_reads_that_wait_at_the_end_are_cancelled(redis_server: RedisServer, streams: Streams) -> None:
    """Nobody waits for a connection that is closed."""
    await streams.read("kept:0")
    redis_server.pause()
    tasks = [asyncio.create_task(streams.read(f"kept:{number}")) for number in range(LANES + 2)]
    await asyncio.sleep(0)
    await streams.close()
    redis_server.resume()
    await wait_until_async(lambda: all(task.done() for task in tasks), what="no read waits")
    assert all(task.cancelled() for task in tasks[LANES:])
    await asyncio.gather(*tasks, return_exceptions=True)
