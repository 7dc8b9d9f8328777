"""Two gateways on two Redis servers: each channel is on one of them, and all of it there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from channels_redis.utils import _consistent_hash

from clarion.names import redis_control, redis_group
from clarion.orders import Disconnect, Order, Subscribe, Unsubscribe, message_encode
from clarion.presence import SyncPresence
from clarion.streams import Position
from tests.support.protocol_client import ProtocolClient, protocol_client
from tests.support.redis_server import RedisServer
from tests.support.redis_server import redis_server as running_redis
from tests.support.waiting import DEADLINE_S, wait_until_async

from .conftest import GatewayProcess, running_gateway, token_for

pytestmark = pytest.mark.timeout(180)

CONFIG = """
[[channel.namespaces]]
name = "kept"
history_size = 100
history_ttl = "300s"
force_recovery = true
presence = true
join_leave = true
force_push_join_leave = true
allow_subscribe_for_client = true
allow_publish_for_client = true
allow_history_for_subscriber = true
allow_presence_for_subscriber = true
"""
BURST = 40


class Cluster:
    """Two servers and two gateways that share them."""

    def __init__(self, servers: list[RedisServer], gateways: list[GatewayProcess]) -> None:
        self.servers = servers
        self.gateways = gateways
        self.publisher = gateways[0].publisher
        self.prefix = gateways[0].prefix

    def shard_of(self, channel: str) -> int:
        """The server that a channel is on, by channels_redis' own rule."""
        return int(_consistent_hash(redis_group(self.prefix, channel), 2))

    def channel_on(self, shard: int) -> str:
        """A channel of that server."""
        return next(name for n in range(100) if self.shard_of(name := f"kept:{n}") == shard)

    def order(self, order: Order) -> None:
        """Tell all gateways."""
        assert self.publisher.publish_raw(redis_control(self.prefix), message_encode(order)) == 2


@pytest.fixture
def cluster(migrated_database: Path, tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        servers = [stack.enter_context(running_redis(persistent=True)) for _ in range(2)]
        urls, prefix = ",".join(server.url for server in servers), f"t{uuid4().hex[:12]}"
        gateways = []
        for node in ("one", "two"):
            (folder := tmp_path / node).mkdir()
            running = running_gateway(folder, urls, migrated_database, prefix=prefix, config=CONFIG, CLARION_NODE=node)
            gateways.append(stack.enter_context(running))
        yield Cluster(servers, gateways)


@pytest.fixture
async def clients(cluster: Cluster) -> AsyncIterator[list[ProtocolClient]]:
    """A client at each gateway, users 0 and 1."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(client_at(gateway, str(n))) for n, gateway in enumerate(cluster.gateways)
        ]


def client_at(gateway: GatewayProcess, user: str) -> Any:
    return protocol_client(f"http://127.0.0.1:{gateway.port}", token_for(user))


async def pushed(client: ProtocolClient, channel: str, count: int) -> list[tuple[int, Any]]:
    """The next publications of a channel."""
    found = [await client.push("pub", channel) for _ in range(count)]
    return [(publication["offset"], publication["data"]) for publication in found]


async def test_every_channel_works_on_its_own_server(cluster: Cluster, clients: list[ProtocolClient]) -> None:
    """Publishing, order, presence, joins, history and recovery, whichever gateway a client is at."""
    channels = [cluster.channel_on(shard) for shard in (0, 1)]
    assert [cluster.shard_of(channel) for channel in channels] == [0, 1]
    tops = {}
    for channel in channels:
        await clients[0].subscribe(channel)
        tops[channel] = await clients[1].subscribe(channel)
        assert (await clients[0].push_where(lambda push: joined(push, clients[1], channel), "join"))["info"]  # noqa: B023
    for number in range(BURST):  # interleaved, by a client of the one gateway and by a service
        for channel in channels:
            if number % 2:
                assert "publish" in await clients[1].command(publish={"channel": channel, "data": number})
            else:
                cluster.publisher.publish(channel, number)
    expected = [(number + 1, number) for number in range(BURST)]
    for channel in channels:
        for client in clients:
            assert await pushed(client, channel, BURST) == expected
        for shard, server in enumerate(cluster.servers):
            with server.client() as redis:
                names = (f"{cluster.prefix}__stream__{channel}", f"{cluster.prefix}__meta__{channel}")
                assert redis.exists(*names) == (2 if shard == cluster.shard_of(channel) else 0)
        for client in clients:
            found = (await client.command(presence={"channel": channel}))["presence"]["presence"]
            assert {info["user"] for info in found.values()} == {"0", "1"}
            stats = (await client.command(presence_stats={"channel": channel}))["presence_stats"]
            assert stats == {"num_clients": 2, "num_users": 2}
            page = (await client.command(history={"channel": channel, "limit": 5, "reverse": True}))["history"]
            assert [item["offset"] for item in page["publications"]] == [BURST - n for n in range(5)]
        assert SyncPresence(cluster.publisher).stats(channel) == (2, 2)
        async with client_at(cluster.gateways[1], "2") as late:
            missed = await late.subscribe(channel, recover=True, offset=10, epoch=tops[channel]["epoch"])
            assert missed["recovered"] is True
            assert [(item["offset"], item["data"]) for item in missed["publications"]] == expected[10:]


def joined(push: dict[str, Any], who: ProtocolClient, channel: str) -> bool:
    return push.get("channel") == channel and push.get("join", {}).get("info", {}).get("client") == who.id


async def test_orders_reach_all_gateways(cluster: Cluster, clients: list[ProtocolClient]) -> None:
    """Subscribe, unsubscribe and disconnect by the server API, with channels of both servers."""
    for shard in (0, 1):
        channel = cluster.channel_on(shard)
        for number in range(3):
            cluster.publisher.publish(channel, number)
        for user, client in enumerate(clients):
            cluster.order(Subscribe(user=str(user), channel=channel, since=Position(1, "")))
            assert (await client.push("subscribe", channel))["offset"] == 3
            assert await pushed(client, channel, 2) == [(2, 1), (3, 2)]
            cluster.order(Unsubscribe(user=str(user), channel=channel))
            assert (await client.push("unsubscribe", channel))["code"] == 2000
    for user, client in enumerate(clients):
        cluster.order(Disconnect(user=str(user), code=3503, reason="bye"))
        assert await client.closed() == (3503, "bye")


@pytest.mark.parametrize("dead", [0, 1])
async def test_one_dead_server_takes_only_its_own_channels_along(
    cluster: Cluster, clients: list[ProtocolClient], dead: int
) -> None:
    """Those of the other go on, joining included; its own are temporary errors, and lose nothing when it is back."""
    lost, alive = cluster.channel_on(dead), cluster.channel_on(1 - dead)
    for channel in (lost, alive):
        for client in clients:
            await client.subscribe(channel)
        cluster.publisher.publish(channel, 0)
        for client in clients:
            assert await pushed(client, channel, 1) == [(1, 0)]
    cluster.servers[dead].stop(hard=True)
    for number in range(1, 11):
        cluster.publisher.publish(alive, number)
    for client in clients:
        assert await pushed(client, alive, 10) == [(number + 1, number) for number in range(1, 11)]
    async with client_at(cluster.gateways[1], "2") as late:
        assert (await late.subscribe(alive))["offset"] == 11
        found = (await late.command(presence={"channel": alive}))["presence"]["presence"]
        assert {info["user"] for info in found.values()} >= {"0", "1", "2"}
        failed = await clients[0].command(publish={"channel": lost, "data": "x"})
        assert (failed["error"]["code"], failed["error"]["temporary"]) == (100, True)
        cluster.servers[dead].start()
        await publish_at_last(cluster, lost, "back")
        for client in clients:
            assert await pushed(client, lost, 1) == [(2, "back")]
            assert client.is_open


async def publish_at_last(cluster: Cluster, channel: str, data: str) -> None:
    """Publish, once the server is back for the gateways."""
    await wait_until_async(
        lambda: all(gateway.health("ready") == 200 for gateway in cluster.gateways), what="the gateways are ready"
    )
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.to_thread(cluster.publisher.publish, channel, data)
