"""Presence when a gateway dies, when Redis does, and when both only seem to."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from clarion.errors import ChannelLayerUnavailable
from clarion.names import redis_node, redis_nodes, redis_presence
from clarion.presence import DEAD_S, Stats
from tests.support.child import child_start, child_stop
from tests.support.redis_server import RedisServer
from tests.support.redis_server import redis_server as running_redis
from tests.support.waiting import wait_until_async
from ws_gateway.presence import Presence, shard
from ws_gateway.presence.reaper import GRACE_S

from .presence_cluster import AnswerLoser, Cluster, enter, kill, leave

GONE_S = 10.0
"""The promise: longest that anything is seen of a gateway that crashed."""


@pytest.fixture
async def cluster(redis_server: RedisServer, layer_prefix: str) -> AsyncIterator[Cluster]:
    cluster = Cluster([redis_server.url], layer_prefix, timeout_s=1.0)
    yield cluster
    await cluster.close()


async def members(node: Presence, channel: str = "chat:x") -> set[str]:
    """Who is there, or nobody while Redis is away."""
    try:
        return set(await node.read(channel))
    except ChannelLayerUnavailable:
        return set()


async def wait_members(node: Presence, expected: set[str], deadline_s: float = 30) -> None:
    """Wait until exactly these are there."""
    end = time.monotonic() + deadline_s
    while (found := await members(node)) != expected:
        assert time.monotonic() < end, f"not within {deadline_s} s: {sorted(found ^ expected)[:20]}"
        await asyncio.sleep(0.02)


async def enter_at_last(node: Presence, client: str) -> None:
    """Enter as a client does: again, until it works."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await enter(node, "chat:x", client)
            except ChannelLayerUnavailable:
                await asyncio.sleep(random.uniform(0.02, 0.2))


# A gateway dies


async def test_a_killed_gateway_is_gone_within_10_s(
    cluster: Cluster, redis_server: RedisServer, tmp_path: Path
) -> None:
    """SIGKILL: nobody reads its clients any more, each leave is told once, and nothing of it remains in Redis."""
    heard = await cluster.hear("chat:x")
    survivors = [cluster.node("one"), cluster.node("two")]
    await enter(survivors[0], "chat:x", "survivor")
    command = [
        sys.executable,
        Path(__file__).with_name("presence_cluster.py"),
        redis_server.url,
        cluster.prefix,
        "1500",
    ]
    log = tmp_path / "killed.log"
    child = child_start(command, log)
    try:
        await wait_until_async(lambda: "entered" in log.read_text(), what="the other gateway has clients")
        assert await survivors[0].stats("chat:x") == Stats(1_501, 10)
        await wait_until_async(lambda: len(heard.told("join")) == 1_501, what="all joins are told")
    finally:
        killed_at = time.monotonic()
        child_stop(child, hard=True)
    await wait_members(survivors[1], {"survivor"})
    unread_s = time.monotonic() - killed_at
    await wait_until_async(lambda: len(heard.told("leave")) == 1_500, what="all leaves are told")
    told_s = time.monotonic() - killed_at
    print(f"not read any more after {unread_s:.1f} s, told after {told_s:.1f} s")
    assert told_s < GONE_S
    assert len(heard.events) == 1_501 + 1_500
    with redis_server.client() as client:
        await wait_until_async(lambda: client.zcard(redis_nodes(cluster.prefix)) == 2, what="it is forgotten")
        assert client.hkeys(redis_presence(cluster.prefix, "chat:x")) == [b"survivor"]
        assert len(client.keys(f"{cluster.prefix}__node_*")) == 3  # the second has no entries


async def test_a_gateway_that_comes_alone_reaps_the_one_before_it(cluster: Cluster) -> None:
    """Nobody was there to see the crash: the next one removes what was left."""
    dead = cluster.node("same name")
    await enter(dead, "chat:x", "a")
    kill(dead)
    heard = await cluster.hear("chat:x")
    node = cluster.node("same name")
    await enter(node, "chat:x", "b")
    await wait_members(node, {"b"}, 20)
    await wait_until_async(lambda: heard.told("leave") == {"a"}, what="the leave is told")
    assert heard.of("b") == ["join"]


async def test_a_gateway_taken_for_dead_comes_back(cluster: Cluster, redis_server: RedisServer) -> None:
    """It was only slow: its clients were told to have left, so they are told to have joined again."""
    heard = await cluster.hear("chat:x")
    slow, other = cluster.node("slow"), cluster.node("other")
    for number in range(300):
        await enter(slow, "chat:x", str(number), is_told=number < 200)
    await asyncio.gather(*(enter(other, "chat:x", f"other-{number}") for number in range(3)))
    everybody = {str(number) for number in range(300)} | {f"other-{number}" for number in range(3)}
    with redis_server.client() as client:
        # Its heartbeats look late until the other one, once it may judge, takes it for dead.
        def look() -> bool:
            client.zadd(redis_nodes(cluster.prefix), {slow.uid: 1}, xx=True)
            return bool(heard.told("leave"))

        await wait_until_async(look, what="it is taken for dead")
    await wait_members(other, everybody)
    # All that were told to be gone are told to be back; who was never told of is not told of now.
    await wait_until_async(
        lambda: all(heard.of(client)[-1] == "join" for client in heard.told("leave")), what="all are told to be back"
    )
    assert heard.told("leave") <= {str(number) for number in range(200)}
    leave(slow, "chat:x", "0")
    await wait_until_async(lambda: heard.of("0")[-1] == "leave", what="the leave is told")
    await wait_members(other, everybody - {"0"})


# Redis dies


async def test_redis_comes_back_without_its_data(cluster: Cluster, redis_server: RedisServer) -> None:
    """All who are there are there again; who left meanwhile is not."""
    nodes = [cluster.node("one"), cluster.node("two")]
    for number in range(400):
        await enter(nodes[number % 2], "chat:x", str(number))
    redis_server.stop(hard=True)
    for number in range(100):
        leave(nodes[number % 2], "chat:x", str(number))
    with pytest.raises(ChannelLayerUnavailable):
        await enter(nodes[0], "chat:x", "refused")
    redis_server.start()
    entering = [asyncio.ensure_future(enter_at_last(nodes[0], f"new-{number}")) for number in range(20)]
    await asyncio.gather(*entering)
    expected = {str(number) for number in range(100, 400)} | {f"new-{number}" for number in range(20)}
    for node in nodes:
        await wait_members(node, expected)
    assert nodes[0].num_entries + nodes[1].num_entries == len(expected)


async def test_redis_comes_back_with_its_data_after_a_long_time(layer_prefix: str) -> None:
    """Everybody's last heartbeat looks old then: nobody is taken for dead, nobody is told to have left."""
    with running_redis(persistent=True) as server:
        cluster = Cluster([server.url], layer_prefix, timeout_s=1.0)
        nodes = [cluster.node(str(number)) for number in range(3)]
        for number in range(300):
            await enter(nodes[number % 3], "chat:x", str(number))
        server.stop(hard=True)
        leave(nodes[0], "chat:x", "0")
        await asyncio.sleep(DEAD_S + 1)  # by Redis's own time
        server.start()
        heard = await cluster.hear("chat:x")
        expected = {str(number) for number in range(1, 300)}
        await wait_members(nodes[1], expected)
        end = time.monotonic() + GRACE_S + 2
        while time.monotonic() < end:
            assert await members(nodes[2]) == expected
            await asyncio.sleep(0.1)
        assert heard.told("leave") <= {"0"}
        assert not heard.told("join")
        await cluster.close()


async def test_redis_comes_back_with_older_data(cluster: Cluster, redis_server: RedisServer) -> None:
    """A snapshot, or a replica that lagged behind: who left since is removed, who came since is written again."""
    node = cluster.node()
    for number in range(100):
        await enter(node, "chat:x", str(number))
    with redis_server.client() as client:
        client.save()
    for number in range(50):
        leave(node, "chat:x", str(number))
    await enter(node, "chat:x", "last")
    redis_server.stop(hard=True)
    redis_server.start()
    with redis_server.client() as client:
        await wait_until_async(lambda: client.exists(redis_presence(cluster.prefix, "chat:x")), what="it is loaded")
    expected = {str(number) for number in range(50, 100)} | {"last"}
    await wait_members(node, expected)
    with redis_server.client() as client:
        assert {key.decode() for key in client.hkeys(redis_presence(cluster.prefix, "chat:x"))} == expected


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_a_black_hole_fails_in_time_and_leaves_nothing_behind(
    cluster: Cluster, redis_server: RedisServer, is_cancelled: bool
) -> None:
    """Nobody knows whether Redis has what was sent: who was refused is not there; no join is told without a leave."""
    heard = await cluster.hear("chat:x")
    node = cluster.node()
    await enter(node, "chat:x", "first")
    redis_server.pause()
    began = time.monotonic()
    entering = [asyncio.ensure_future(enter(node, "chat:x", str(number))) for number in range(600)]
    if is_cancelled:  # their clients are gone: some are on the way to Redis, some wait
        await wait_until_async(lambda: bool(node._shards[0]._sent), what="some have been sent")
        for task in entering:
            task.cancel()
    done = await asyncio.gather(*entering, return_exceptions=True)
    assert time.monotonic() - began < 5
    assert {type(result) for result in done} == {asyncio.CancelledError if is_cancelled else ChannelLayerUnavailable}
    leave(node, "chat:x", "first")
    redis_server.resume()
    await enter_at_last(node, "last")
    await wait_members(node, {"last"})
    await wait_until_async(lambda: "last" in heard.told("join"), what="the last join is told")
    assert heard.told("join") - heard.told("leave") == {"last"}
    assert all(heard.of(client) == ["join", "leave"] for client in heard.told("leave"))
    assert node.num_entries == 1


@pytest.mark.parametrize("loses_data", [False, True])
async def test_a_lost_answer_tells_nobody_twice(redis_server: RedisServer, layer_prefix: str, loses_data: bool) -> None:
    """Redis had done it when its answer was lost: the write is sent again, and its number says that it is done."""
    way = AnswerLoser(redis_server.port)
    cluster = Cluster([await way.start()], layer_prefix, timeout_s=10)
    observer = Cluster([redis_server.url], layer_prefix)
    try:
        heard = await observer.hear("chat:x")
        node = cluster.node()
        await enter(node, "chat:x", "first")
        way.marker = b"second"
        await enter(node, "chat:x", "second")
        assert not way.marker
        way.marker = b"leave"
        leave(node, "chat:x", "first")
        if loses_data:  # between the write and its repetition, perhaps
            with redis_server.client() as client:
                client.flushall()
        await enter(node, "chat:x", "last")
        assert not way.marker
        await wait_until_async(lambda: "last" in heard.told("join"), what="the last join is told")
        if not loses_data:
            assert heard.events == [("join", "first"), ("join", "second"), ("leave", "first"), ("join", "last")]
        await wait_members(node, {"second", "last"})
    finally:
        await cluster.close()
        await observer.close()
        await way.stop()


async def test_a_script_that_redis_forgot_is_sent_again(cluster: Cluster, redis_server: RedisServer) -> None:
    """After SCRIPT FLUSH nothing fails and nothing is done twice."""
    heard = await cluster.hear("chat:x")
    node = cluster.node()
    with redis_server.client() as client:
        for number in range(5):
            client.script_flush()
            await enter(node, "chat:x", str(number))
    await wait_until_async(lambda: len(heard.events) >= 5, what="all joins are told")
    assert heard.events == [("join", str(number)) for number in range(5)]


async def test_too_many_that_wait_are_refused_at_once(
    cluster: Cluster, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is bounded; leaves, which are bounded by what was entered, still get through."""
    node = cluster.node()
    await asyncio.gather(*(enter(node, "chat:x", f"old-{number}") for number in range(50)))
    monkeypatch.setattr(shard, "ENTERING_MAX", 10)
    redis_server.pause()
    for number in range(50):
        leave(node, "chat:x", f"old-{number}")
    entering = [asyncio.ensure_future(enter(node, "chat:x", str(number))) for number in range(400)]
    _, late = await asyncio.wait(entering, timeout=0.2)
    assert len(late) <= 10 + shard.BATCH_CHANGES
    redis_server.resume()
    await asyncio.gather(*entering, return_exceptions=True)
    await enter_at_last(node, "last")
    stayed = {str(number) for number, task in enumerate(entering) if task.exception() is None}
    await wait_members(node, {"last", *stayed})


async def test_a_gateway_starts_and_stops_without_redis(cluster: Cluster, redis_server: RedisServer) -> None:
    """It waits for Redis as long as it must, and ends within its deadline."""
    redis_server.stop()
    node, patient = cluster.node("one"), cluster.node("two")
    with pytest.raises(ChannelLayerUnavailable):
        await enter(node, "chat:x", "a")
    with pytest.raises(ChannelLayerUnavailable):
        await node.read("chat:x")
    with pytest.raises(ChannelLayerUnavailable):
        await node.stats("chat:x")
    began = time.monotonic()
    await node.stop()
    assert time.monotonic() - began < shard.STOP_S + 5
    redis_server.start()
    await enter_at_last(patient, "b")
    await wait_members(patient, {"b"})


# All at once


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_happens_who_is_there_is_there(seed: int) -> None:
    """Clients come and go on three gateways; Redis is killed, frozen, emptied and cut off; a gateway dies."""
    chance = random.Random(seed)
    with running_redis() as server:
        cluster = Cluster([server.url], f"t{uuid4().hex[:12]}", timeout_s=1.0)
        nodes = [cluster.node(str(number)) for number in range(3)]
        there: list[set[str]] = [set(), set(), set()]

        async def come_and_go(index: int, client: str) -> None:
            while time.monotonic() < end:
                if client in there[index]:
                    there[index].discard(client)
                    leave(nodes[index], "chat:x", client)
                else:
                    try:
                        await enter(nodes[index], "chat:x", client)
                    except ChannelLayerUnavailable:
                        continue
                    there[index].add(client)
                await asyncio.sleep(chance.uniform(0.01, 0.5))

        end = time.monotonic() + 8
        clients = [asyncio.ensure_future(come_and_go(n % 3, f"{n % 3}-{n}")) for n in range(90)]
        while time.monotonic() < end:
            await asyncio.sleep(chance.uniform(0.2, 1.0))
            await asyncio.to_thread(_fault, chance, server)
        await asyncio.gather(*clients)
        kill(nodes[2])
        expected = there[0] | there[1]
        await wait_members(nodes[0], expected, 40)
        with server.client() as client:
            key = redis_presence(cluster.prefix, "chat:x")
            await wait_until_async(
                lambda: {name.decode() for name in client.hkeys(key)} == expected, what="nothing else is in Redis"
            )
            assert not client.exists(redis_node(cluster.prefix, nodes[2].uid))
        await cluster.close()


def _fault(chance: random.Random, server: RedisServer) -> None:
    kind = chance.choice(["kill", "pause", "empty", "cut", "scripts"])
    if kind == "kill":
        server.stop(hard=True)
        time.sleep(chance.uniform(0, 0.5))
        server.start()
    elif kind == "pause":
        server.pause()
        time.sleep(chance.uniform(0.2, 1.5))
        server.resume()
    else:
        with server.client() as client:
            _harm(kind, client)


def _harm(kind: str, client: redis.Redis) -> None:
    if kind == "empty":
        client.flushall()
    elif kind == "cut":
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    else:
        client.script_flush()
