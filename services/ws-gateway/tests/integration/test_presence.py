"""Presence of several gateways on a real Redis, while all goes well."""

from __future__ import annotations

import asyncio
import gc
import random
import tracemalloc
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import redis
from channels_redis.utils import _consistent_hash

from clarion.errors import NameInvalid
from clarion.ids import uuid7
from clarion.names import redis_group, redis_node_entries, redis_presence
from clarion.presence import Stats, SyncPresence
from clarion.publisher import Publisher
from tests.support.redis_server import RedisServer
from tests.support.redis_server import redis_server as running_redis
from tests.support.waiting import wait_until_async

from .presence_cluster import Cluster, enter, leave

ENTRIES = 5_000
ENTRY_MAX_BYTES = 380
"""In the gateway, of an idle entry in a channel of its own, with a user of six digits."""


@pytest.fixture
async def cluster(shared_redis_url: str, layer_prefix: str) -> AsyncIterator[Cluster]:
    cluster = Cluster([shared_redis_url], layer_prefix)
    yield cluster
    await cluster.close()


@pytest.fixture
async def own_cluster(redis_server: RedisServer, layer_prefix: str) -> AsyncIterator[Cluster]:
    """On a Redis whose counters nobody else moves."""
    cluster = Cluster([redis_server.url], layer_prefix)
    yield cluster
    await cluster.close()


async def test_every_gateway_sees_who_is_there(cluster: Cluster) -> None:
    """Clients of two gateways; a user with three tabs is one user and three clients; http-api reads the same."""
    one, two = cluster.node("one"), cluster.node("two")
    async with asyncio.timeout(60):
        await enter(one, "chat:x", "a", conn_info={"name": "Ada", "tags": [], "more": {}})
        await enter(one, "chat:x", "b", chan_info="é\0")
        await enter(two, "chat:x", "c")
        await enter(two, "chat:x", "d", "8")
        await enter(two, "chat:y", "d", "8")
        members = {
            "a": {"user": "7", "client": "a", "conn_info": {"name": "Ada", "tags": [], "more": {}}},
            "b": {"user": "7", "client": "b", "chan_info": "é\0"},
            "c": {"user": "7", "client": "c"},
            "d": {"user": "8", "client": "d"},
        }
        for node in (one, two):
            assert await node.read("chat:x") == members
            assert await node.stats("chat:x") == Stats(num_clients=4, num_users=2)
            assert await node.stats("chat:none") == Stats(0, 0)
        publisher = Publisher(cluster.urls, prefix=cluster.prefix)
        presence = SyncPresence(publisher)
        assert await asyncio.to_thread(presence.read, "chat:x") == members
        assert sorted(str(facts["name"]) for facts in await asyncio.to_thread(presence.nodes)) == ["one", "two"]
        publisher.close()
        with pytest.raises(NameInvalid):
            await one.read("chat x")
        with pytest.raises(NameInvalid):
            await enter(one, "chat x", "a")


async def test_joins_and_leaves_are_told_in_the_order_of_each_client(cluster: Cluster) -> None:
    """However many come and go at once on whichever gateway: join, leave, join, leave; and nobody remains."""
    heard = await cluster.hear("chat:x")
    nodes = [cluster.node(str(number)) for number in range(3)]

    async def come_and_go(client: str, node_number: int) -> None:
        for _ in range(5):
            await enter(nodes[node_number], "chat:x", client)
            if random.random() < 0.5:
                await asyncio.sleep(0)
            leave(nodes[node_number], "chat:x", client)

    async with asyncio.timeout(60):
        await asyncio.gather(*(come_and_go(f"{number}", number % 3) for number in range(150)))
        await wait_until_async(lambda: len(heard.events) == 1_500, what="all is told")
        assert all(heard.of(str(number)) == ["join", "leave"] * 5 for number in range(150))
        assert await nodes[0].stats("chat:x") == Stats(0, 0)


async def test_what_is_kept_and_what_is_told_are_two_things(cluster: Cluster) -> None:
    """Presence without join_leave is silent; join_leave without presence cannot be read."""
    heard = await cluster.hear("chat:x")
    node = cluster.node()
    async with asyncio.timeout(60):
        await enter(node, "chat:x", "kept", is_told=False)
        await enter(node, "chat:x", "told", is_kept=False)
        assert list(await node.read("chat:x")) == ["kept"]
        leave(node, "chat:x", "kept", is_told=False)
        leave(node, "chat:x", "told", is_kept=False)
        leave(node, "chat:x", "nobody")
        await wait_until_async(lambda: len(heard.events) >= 2, what="the leave is told")
        await enter(node, "chat:x", "last")
        await wait_until_async(lambda: "last" in heard.told("join"), what="the last join is told")
        assert heard.events == [("join", "told"), ("leave", "told"), ("join", "last")]
        assert list(await node.read("chat:x")) == ["last"]


async def test_2000_clients_that_come_at_once_cost_few_round_trips(
    redis_server: RedisServer, own_cluster: Cluster
) -> None:
    """What comes while a write is under way goes with the next one; so do 2,000 leaves."""
    node = own_cluster.node()
    with redis_server.client() as client:
        async with asyncio.timeout(60):
            await enter(node, "chat:x", "first")  # the scripts are known
            client.config_resetstat()
            await asyncio.gather(*(enter(node, f"chat:{n % 50}", str(n), str(n % 500)) for n in range(2_000)))
            scripts = _scripts(client)
            assert sum(len(client.hkeys(key)) for key in client.keys("*__presence__*")) == 2_001
            client.config_resetstat()
            for number in range(2_000):
                leave(node, f"chat:{number % 50}", str(number))
            await wait_until_async(lambda: len(client.keys("*__presence__*")) == 1, what="all have left")
            left = _scripts(client)
    print(f"2,000 enters in {scripts} scripts, 2,000 leaves in {left}")
    # Eight full ones; beside them heartbeats, looks at other nodes, and a few that were not full.
    assert scripts <= 20
    assert left <= 20


def _scripts(client: redis.Redis) -> int:
    return int(client.info("commandstats")["cmdstat_evalsha"]["calls"])


async def test_500_clients_that_ask_at_once_cost_few_reads(redis_server: RedisServer, own_cluster: Cluster) -> None:
    """Who asks while a read is under way shares the next one, and sees itself in it."""
    node = own_cluster.node()

    async def come_and_ask(client: str) -> bool:
        await enter(node, "chat:x", client)
        return client in await node.read("chat:x")

    with redis_server.client() as client:
        async with asyncio.timeout(60):
            assert all(await asyncio.gather(*(come_and_ask(str(number)) for number in range(500))))
            await asyncio.gather(*(node.stats("chat:x") for _ in range(500)))
        assert client.info("commandstats")["cmdstat_hscan"]["calls"] <= 20


async def test_shards_hold_their_channels_and_know_every_node() -> None:
    """A channel's presence is on the server of its group; a node's heartbeat is on all."""
    with running_redis() as first, running_redis() as second, running_redis() as third:
        servers = [first, second, third]
        prefix = f"t{uuid4().hex[:12]}"
        cluster = Cluster([server.url for server in servers], prefix)
        one, two = cluster.node("one"), cluster.node("two")
        channels = [f"chat:{number}" for number in range(60)]
        async with asyncio.timeout(60):
            heard = await cluster.hear(channels[0])
            await asyncio.gather(*(enter(one, channel, "a") for channel in channels))
            await asyncio.gather(*(enter(two, channel, "b") for channel in channels))
            for index, server in enumerate(servers):
                with server.client() as client:
                    here = {c for c in channels if _consistent_hash(redis_group(prefix, c), 3) == index}
                    assert here
                    assert {key.decode() for key in client.keys(f"{prefix}__presence__*")} == {
                        redis_presence(prefix, channel) for channel in here
                    }
                    assert client.zcard(f"{prefix}__nodes") == 2
                    assert client.scard(redis_node_entries(prefix, one.uid)) == len(here)
            assert {await one.stats(channel) for channel in channels} == {Stats(2, 1)}
            for channel in channels:
                leave(two, channel, "b")
            await wait_until_async(lambda: heard.of("b") == ["join", "leave"], what="the leave is told")
        await cluster.close()
        for server in servers:
            with server.client() as client:
                # Of "one", which stopped with clients in it, only what a survivor will reap.
                assert client.zrange(f"{prefix}__nodes", 0, -1, withscores=True) == [(one.uid.encode(), 0.0)]


async def test_stop_writes_what_waits_and_forgets_the_node(cluster: Cluster, shared_redis_url: str) -> None:
    """A drained gateway's clients have left before: their leaves are told, nothing remains, facts included."""
    heard = await cluster.hear("chat:x")
    node = cluster.node()
    async with asyncio.timeout(60):
        await asyncio.gather(*(enter(node, "chat:x", str(number)) for number in range(600)))
        for number in range(600):
            leave(node, "chat:x", str(number))
        await node.stop()
        await wait_until_async(lambda: len(heard.told("leave")) == 600, what="all leaves are told")
    with redis.Redis.from_url(shared_redis_url) as client:
        assert client.keys(f"{cluster.prefix}__*") == []


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8])
async def test_who_gives_up_entering_is_not_there(cluster: Cluster, turns: int) -> None:
    """Cancelled at whatever moment, before or after Redis has it: no entry stays, and a join is followed by a leave."""
    heard = await cluster.hear("chat:x")
    node = cluster.node()
    async with asyncio.timeout(60):
        await enter(node, "chat:x", "first")
        entering = [asyncio.ensure_future(enter(node, "chat:x", str(number))) for number in range(50)]
        for _ in range(turns):
            await asyncio.sleep(0.0005)
        for task in entering:
            task.cancel()
        done = await asyncio.gather(*entering, return_exceptions=True)
        stayed = {str(number) for number, result in enumerate(done) if result is None}
        await enter(node, "chat:x", "last")
        assert set(await node.read("chat:x")) == {"first", "last", *stayed}
        await wait_until_async(lambda: "last" in heard.told("join"), what="the last join is told")
        assert heard.told("join") - heard.told("leave") == {"first", "last", *stayed}


async def test_an_idle_entry_is_small(cluster: Cluster) -> None:
    """What a client in a channel of its own costs the gateway: one name, one value, one place in a dict."""
    node = cluster.node()

    async def enter_many(first: int) -> None:
        for start in range(first, first + ENTRIES, 200):
            await asyncio.gather(
                *(enter(node, f"chat:room-{n}", str(uuid7()), str(100_000 + n)) for n in range(start, start + 200))
            )
        gc.collect()

    async with asyncio.timeout(100):
        tracemalloc.start()
        try:
            await enter_many(0)  # pools, scripts, and the bounded cache of places
            before, _ = tracemalloc.get_traced_memory()
            await enter_many(10_000)
            used = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        print(f"{used / ENTRIES:.0f} bytes an entry")
        assert node.num_entries == 2 * ENTRIES
        assert used / ENTRIES < ENTRY_MAX_BYTES
