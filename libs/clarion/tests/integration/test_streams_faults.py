"""Recoverable channels when Redis loses keys, scripts or itself: told, never wedged, never sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from channels_redis.pubsub import RedisPubSubChannelLayer
from channels_redis.utils import _consistent_hash

from clarion.errors import ChannelLayerUnavailable
from clarion.layers import ClarionChannelLayer
from clarion.namespaces import ClarionConfig, config_parse
from clarion.publisher import Publisher
from clarion.streams import Streams
from tests.support.redis_server import RedisServer
from tests.support.redis_server import redis_server as running_redis
from tests.support.waiting import wait_until

CONFIG: ClarionConfig = config_parse(
    {"channel": {"namespaces": [{"name": "kept", "history_size": 50, "history_ttl": "60s"}, {"name": "plain"}]}}
)
META, STREAM = "asgi__meta__kept:a", "asgi__stream__kept:a"


@pytest.fixture
def publisher(redis_server: RedisServer) -> Iterator[Publisher]:
    publisher = Publisher([redis_server.url], timeout_s=0.5, config=CONFIG)
    yield publisher
    publisher.close()


@pytest.fixture
async def layer(redis_server: RedisServer) -> AsyncIterator[ClarionChannelLayer]:
    layer = ClarionChannelLayer([redis_server.url], timeout_s=0.5, config=CONFIG)
    yield layer
    await layer.flush()


@pytest.fixture
async def streams(redis_server: RedisServer, layer: ClarionChannelLayer) -> AsyncIterator[Streams]:
    streams = Streams([redis_server.url], timeout_s=0.5, config=CONFIG, decode=layer.deserialize)
    yield streams
    await streams.close()


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis_server.client() as client:
        yield client


def lose_all(client: redis.Redis) -> None:
    client.flushall()


def lose_meta(client: redis.Redis) -> None:
    client.delete(META)


def lose_epoch(client: redis.Redis) -> None:
    client.hdel(META, "e")


def lose_offset(client: redis.Redis) -> None:
    client.hdel(META, "o")


def lower_offset(client: redis.Redis) -> None:
    """As after a failover in which the meta's last writes did not arrive."""
    client.hset(META, "o", 1)


def lose_stream(client: redis.Redis) -> None:
    client.delete(STREAM)


@pytest.mark.parametrize("lose", [lose_all, lose_meta, lose_epoch, lose_offset, lower_offset])
@pytest.mark.parametrize("first", ["publish", "read", "positions"])
async def test_a_loss_begins_a_new_epoch(
    publisher: Publisher, streams: Streams, client: redis.Redis, lose: Any, first: str
) -> None:
    """Whatever remains is no longer the stream that clients know: it goes, and offsets begin anew."""
    before = [publisher.publish("kept:a", number) for number in range(5)][-1]
    lose(client)
    if first != "publish":
        found = (
            (await streams.positions(["kept:a"]))["kept:a"] if first == "positions" else await streams.read("kept:a")
        )
        assert found.offset == 0
        assert found.epoch != before.epoch
    again = [publisher.publish("kept:a", number) for number in range(10, 13)]
    assert [published.offset for published in again] == [1, 2, 3]
    assert {published.epoch for published in again} != {before.epoch}
    assert len({published.epoch for published in again}) == 1
    found = await streams.read("kept:a")
    assert (found.offset, found.epoch) == (3, again[0].epoch)
    assert [item.data for item in found.publications] == [10, 11, 12]
    assert [item.offset for item in found.publications] == [1, 2, 3]


async def test_a_lost_stream_keeps_the_epoch_and_covers_nothing(
    publisher: Publisher, streams: Streams, client: redis.Redis
) -> None:
    """As if it had expired: who missed nothing goes on, who missed something learns that it is not there."""
    before = [publisher.publish("kept:a", number) for number in range(5)][-1]
    lose_stream(client)
    found = await streams.read("kept:a", since=4)
    assert (found.offset, found.epoch, found.covers(4), found.covers(5)) == (5, before.epoch, False, True)
    again = publisher.publish("kept:a", 5)
    assert (again.offset, again.epoch) == (6, before.epoch)
    found = await streams.read("kept:a", since=4)
    assert not found.covers(4)
    assert (await streams.read("kept:a", since=5)).covers(5)


@pytest.mark.parametrize("flush", [True, False])
async def test_a_script_that_redis_forgot_is_sent_again_and_runs_once(
    redis_server: RedisServer,
    publisher: Publisher,
    layer: ClarionChannelLayer,
    streams: Streams,
    client: redis.Redis,
    flush: bool,
) -> None:
    """After SCRIPT FLUSH or a restart: NOSCRIPT means that nothing was done."""
    publisher.publish("kept:a", 0)
    epoch = (await streams.read("kept:a")).epoch
    if flush:
        client.script_flush()
    else:
        client.config_set("save", "")
        redis_server.restart()
        publisher.publish("kept:b", 0)  # connections are new: what follows is about scripts only
        client.script_flush()
    publisher.publish("kept:a", 1, idempotency_key="a")
    client.script_flush()
    await asyncio.gather(*(layer.publish("kept:a", number) for number in range(20)))
    client.script_flush()
    found = await streams.read("kept:a")
    client.script_flush()
    assert (await streams.positions(["kept:a"]))["kept:a"].offset == found.offset
    client.script_flush()
    assert publisher.positions(["kept:a"])["kept:a"].offset == found.offset
    client.script_flush()
    assert publisher.publish("plain:a", 1, idempotency_key="a").offset == 0
    assert found.offset == (22 if flush else 21)
    assert len(found.publications) == found.offset
    assert (found.epoch == epoch) is flush


async def test_redis_comes_back_with_its_data(layer_prefix: str) -> None:
    """Killed in mid-stream with its data on disk: the same epoch, no offset twice, nothing acknowledged is lost."""
    with running_redis(persistent=True) as server:
        publisher = Publisher([server.url], prefix=layer_prefix, timeout_s=0.5, config=CONFIG)
        told = [publisher.publish("kept:a", number) for number in range(10)]
        server.stop(hard=True)
        with pytest.raises(ChannelLayerUnavailable):
            publisher.publish("kept:a", "lost")
        server.start()
        wait_until(lambda: _is_published(publisher, "again"), 10, what="Redis is back")
        found = publisher.read("kept:a", since=0)
        assert found.epoch == told[0].epoch
        assert found.covers(0)
        assert [item.data for item in found.publications] == [*range(10), "again"]
        publisher.close()


async def test_redis_comes_back_without_its_data(redis_server: RedisServer, publisher: Publisher) -> None:
    """Offsets begin anew under another epoch: every client's position is known to be worthless."""
    told = [publisher.publish("kept:a", number) for number in range(10)]
    redis_server.stop(hard=True)
    redis_server.start()
    wait_until(lambda: _is_published(publisher, "again"), 10, what="Redis is back")
    found = publisher.read("kept:a")
    assert found.epoch != told[0].epoch
    assert [item.data for item in found.publications] == ["again"]


async def test_a_late_answer_is_not_repeated_and_a_key_makes_a_repeat_safe(
    redis_server: RedisServer, publisher: Publisher, layer: ClarionChannelLayer
) -> None:
    """The caller hears that Redis did not answer; with the same key it asks again and has one publication."""
    publisher.publish("kept:a", "before")
    await layer.publish("kept:a", "before")
    redis_server.pause()
    with pytest.raises(ChannelLayerUnavailable):
        publisher.publish("kept:a", "late", idempotency_key="sync")
    with pytest.raises(ChannelLayerUnavailable):
        await layer.publish("kept:a", "late", idempotency_key="async")
    redis_server.resume()
    wait_until(lambda: _is_published(publisher, "late", idempotency_key="sync"), 10, what="Redis answers again")
    await layer.publish("kept:a", "late", idempotency_key="async")
    # Those that had been on their way when Redis was frozen were taken by it, or not: once each in either case.
    assert [item.data for item in publisher.read("kept:a").publications] == ["before", "before", "late", "late"]


async def test_a_full_redis_refuses_as_a_whole(publisher: Publisher, client: redis.Redis) -> None:
    """Over maxmemory nothing is counted and nothing is sent: the next offset follows on."""
    told = publisher.publish("kept:a", 1)
    client.config_set("maxmemory", "1mb")
    with pytest.raises(ChannelLayerUnavailable):
        publisher.publish("kept:a", 2)
    client.config_set("maxmemory", 0)
    wait_until(lambda: _is_published(publisher, 3), 10, what="Redis takes it again")
    found = publisher.read("kept:a")
    assert (found.offset, found.epoch) == (2, told.epoch)
    assert [item.data for item in found.publications] == [1, 3]


async def test_shards_hold_what_channels_redis_says() -> None:
    """Stream, meta and pub/sub of a channel are on the server that a stock service with the same hosts publishes to."""
    with running_redis() as one, running_redis() as two, running_redis() as three:
        urls, prefix = [one.url, two.url, three.url], f"t{uuid4().hex[:12]}"
        layer = ClarionChannelLayer(urls, prefix=prefix, config=CONFIG)
        publisher = Publisher(urls, prefix=prefix, config=CONFIG)
        streams = Streams(urls, prefix=prefix, config=CONFIG, decode=layer.deserialize)
        stock = RedisPubSubChannelLayer(hosts=urls, prefix=prefix)
        member = await stock.new_channel()
        channels = [f"kept:{number}" for number in range(30)]
        used = set()
        async with asyncio.timeout(30):
            for number, channel in enumerate(channels):
                group = f"{prefix}__group__{channel}"
                shard = _consistent_hash(group, 3)
                used.add(shard)
                await stock.group_add(channel, member)
                assert (await layer.publish(channel, number)).offset == 1
                assert publisher.publish(channel, number).offset == 2
                assert [(await stock.receive(member))["offset"] for _ in range(2)] == [1, 2]
                for index, server in enumerate((one, two, three)):
                    with server.client() as client:
                        names = (f"{prefix}__meta__{channel}", f"{prefix}__stream__{channel}")
                        assert client.exists(*names) == (2 if index == shard else 0)
                assert len((await streams.read(channel)).publications) == 2
            assert used == {0, 1, 2}
            assert {name: at.offset for name, at in (await streams.positions(channels)).items()} == dict.fromkeys(
                channels, 2
            )
            assert publisher.positions(channels) == await streams.positions(channels)
        await stock.flush()
        await layer.flush()
        await streams.close()
        publisher.close()


async def test_a_redis_that_is_away_is_an_error(redis_server: RedisServer, streams: Streams) -> None:
    """ChannelLayerUnavailable for every read, in time."""
    await streams.read("kept:a")
    redis_server.stop()
    async with asyncio.timeout(10):
        for call in (streams.read("kept:a"), streams.positions(["kept:a"]), streams.remove("kept:a")):
            with pytest.raises(ChannelLayerUnavailable):
                await call
    redis_server.start()
    assert (await streams.read("kept:a")).offset == 0


def test_settings_give_the_layer_its_file(tmp_path: Path, redis_server: RedisServer) -> None:
    """A path is read at start; without one every channel is plain."""
    path = tmp_path / "clarion.toml"
    path.write_text('[[channel.namespaces]]\nname = "kept"\nhistory_size = 5\nhistory_ttl = "60s"\n')
    for config in (path, str(path)):
        publisher = Publisher([redis_server.url], config=config)
        assert publisher.publish("kept:a", 1).offset > 0
        publisher.close()
    assert Publisher([redis_server.url]).publish("kept:a", 1).offset == 0


def _is_published(publisher: Publisher, data: Any, idempotency_key: str = "again") -> bool:
    """Try under a key: an answer that came too late must not make two of it."""
    try:
        publisher.publish("kept:a", data, idempotency_key=idempotency_key)
    except ChannelLayerUnavailable:
        return False
    return True
