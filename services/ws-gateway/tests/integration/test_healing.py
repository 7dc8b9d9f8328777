"""ws_gateway.hub on a real Redis: what is lost between Redis and the gateway is read from the stream, or told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from clarion.layers import ClarionChannelLayer
from clarion.namespaces import config_parse
from clarion.publications import Publication
from clarion.publisher import Publisher
from clarion.streams import Streams
from tests.support.redis_server import RedisServer
from tests.support.redis_server import redis_server as running_redis
from tests.support.waiting import wait_until_async
from ws_gateway import fanout, healing
from ws_gateway.groups import Group
from ws_gateway.hub import Hub, Recovered

CHANNEL = "kept:x"
CONFIG = config_parse(
    {
        "channel": {
            "namespaces": [
                {"name": "kept", "history_size": 1000, "history_ttl": "300s", "force_recovery": True},
                {"name": "short", "history_size": 5, "history_ttl": "300s", "force_recovery": True},
            ]
        }
    }
)


class Offsets:
    """A wire that writes each publication's offset as a JSON number and a space, one encoding for all."""

    is_positioned = True
    is_delta = False
    successor = None

    def encode(self, group: Group, events: list[Any]) -> bytes:
        return b"".join(b"%d " % event.offset for event in events if type(event) is Publication)


OFFSETS = Offsets()


class Member:
    """Keeps what is written to it, and whether it was told that its position is lost."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.lost: list[str] = []

    def write(self, frames: bytes) -> None:
        self.written.append(frames)

    def position_lost(self, channel: str) -> None:
        self.lost.append(channel)

    @property
    def offsets(self) -> list[int]:
        return [int(number) for number in b"".join(self.written).split()]


@asynccontextmanager
async def running_hub(url: str, prefix: str) -> AsyncIterator[Hub]:
    """A hub that listens to this Redis."""
    decode = ClarionChannelLayer([url], prefix=prefix, config=CONFIG).deserialize
    streams = Streams([url], config=CONFIG, decode=decode, prefix=prefix)
    hub = Hub([url], prefix=prefix, decode=decode, streams=streams, config=CONFIG)
    hub.start()
    try:
        await wait_until_async(lambda: hub.connected, what="the hub listens")
        yield hub
    finally:
        await hub.stop()
        await streams.close()


async def join(hub: Hub, member: Member, channel: str = CHANNEL) -> tuple[int, str]:
    """Make a member; returns the position at which it starts."""
    async with hub.holding(channel, timeout_s=10) as is_ready:
        assert is_ready
        position = hub.position(channel)
        hub.join(channel, member, OFFSETS)
    return position


async def recover(hub: Hub, member: Member, since: int, epoch: str, channel: str = CHANNEL) -> Recovered:
    """Come back as a client does: what it missed first, then as a member."""
    async with hub.holding(channel, timeout_s=10, since=since) as is_ready:
        assert is_ready
        found = await hub.recover(channel, since, epoch, 10_000)
        member.write(b"".join(b"%d " % kept.publication.offset for kept in found.publications))
        hub.join(channel, member, OFFSETS)
    return found


def publish(publisher: Publisher, count: int, channel: str = CHANNEL) -> int:
    """Publish some; returns the last offset."""
    return [publisher.publish(channel, {"n": number}).offset for number in range(count)][-1]


def publisher_of(server: RedisServer, prefix: str) -> Publisher:
    return Publisher([server.url], prefix=prefix, config=CONFIG)


async def test_a_cut_connection_costs_nothing(redis_server: RedisServer, layer_prefix: str) -> None:
    """Redis drops the gateway's subscription in mid-stream: the gap is read, in order, once."""
    publisher = publisher_of(redis_server, layer_prefix)
    member = Member()
    async with running_hub(redis_server.url, layer_prefix) as hub:
        start, _ = await join(hub, member)
        for _ in range(5):
            await asyncio.to_thread(publish, publisher, 20)
            with redis_server.client() as client:
                client.client_kill_filter(_type="pubsub")
            last = await asyncio.to_thread(publish, publisher, 20)
        await wait_until_async(lambda: member.offsets[-1:] == [last], what="everything has come")
    publisher.close()
    assert member.offsets == list(range(start + 1, last + 1))
    assert member.lost == []


async def test_redis_back_with_its_data_costs_nothing(layer_prefix: str) -> None:
    """Stopped and started: what was published before the gateway was back is read."""
    with running_redis(persistent=True) as server:
        publisher = publisher_of(server, layer_prefix)
        member = Member()
        async with running_hub(server.url, layer_prefix) as hub:
            await join(hub, member)
            await asyncio.to_thread(publish, publisher, 10)
            await asyncio.to_thread(server.restart)
            publisher.close()
            publisher = publisher_of(server, layer_prefix)
            last = await asyncio.to_thread(publish, publisher, 10)
            await wait_until_async(lambda: member.offsets[-1:] == [last], what="everything has come")
        publisher.close()
    assert (member.offsets, member.lost) == (list(range(1, 21)), [])


async def test_redis_back_without_its_data_is_told(redis_server: RedisServer, layer_prefix: str) -> None:
    """Another epoch: every member that counts offsets is taken out and told, before anything newer."""
    publisher = publisher_of(redis_server, layer_prefix)
    members = [Member() for _ in range(300)]
    async with running_hub(redis_server.url, layer_prefix) as hub:
        for member in members:
            _, epoch = await join(hub, member)
        await asyncio.to_thread(publish, publisher, 10)
        await wait_until_async(lambda: members[-1].offsets[-1:] == [10])
        await asyncio.to_thread(redis_server.restart)
        publisher.close()
        publisher = publisher_of(redis_server, layer_prefix)
        await asyncio.to_thread(publish, publisher, 3)
        await wait_until_async(lambda: all(member.lost for member in members), what="all are told")
        assert all(member.offsets == list(range(1, 11)) for member in members)
        back = Member()
        found = await recover(hub, back, 10, epoch)
        assert (found.ok, found.epoch != epoch) == (False, True)
        last = await asyncio.to_thread(publish, publisher, 2)
        await wait_until_async(lambda: back.offsets == list(range(found.offset + 1, last + 1)))
    publisher.close()


async def test_a_gap_that_the_stream_has_left_is_told(redis_server: RedisServer, layer_prefix: str) -> None:
    """More was published while the gateway was cut off than the stream keeps."""
    publisher = publisher_of(redis_server, layer_prefix)
    member = Member()
    async with running_hub(redis_server.url, layer_prefix) as hub:
        _, epoch = await join(hub, member, "short:x")
        await asyncio.to_thread(publish, publisher, 2, "short:x")
        await wait_until_async(lambda: member.offsets == [1, 2])
        # Nothing of ours listens: what is published now reaches no gateway, and the stream keeps the last five.
        with redis_server.client() as client:
            client.execute_command("CLIENT", "PAUSE", 200, "WRITE")
            client.client_kill_filter(_type="pubsub")
        await asyncio.to_thread(publish, publisher, 20, "short:x")
        await wait_until_async(lambda: bool(member.lost) or member.offsets[-1] == 22, what="told, or healed in time")
        if member.lost:
            assert member.offsets == [1, 2]
            found = await recover(hub, Member(), 2, epoch, "short:x")
            assert (found.ok, found.offset) == (False, 22)
        else:
            assert member.offsets == list(range(1, 23))
    publisher.close()


async def test_recoveries_of_one_range_share_reads(redis_server: RedisServer, layer_prefix: str) -> None:
    """500 clients that missed the same hundred cost a read or two, and miss nothing that is published meanwhile."""
    publisher = publisher_of(redis_server, layer_prefix)
    first = Member()
    async with running_hub(redis_server.url, layer_prefix) as hub:
        _, epoch = await join(hub, first)
        await asyncio.to_thread(publish, publisher, 100)
        await wait_until_async(lambda: first.offsets[-1:] == [100])
        with redis_server.client() as client:
            client.config_resetstat()
        members = [Member() for _ in range(500)]
        publishing = asyncio.to_thread(publish, publisher, 50)
        results = await asyncio.gather(publishing, *(recover(hub, member, 0, epoch) for member in members))
        await wait_until_async(lambda: all(member.offsets[-1:] == [150] for member in members))
        with redis_server.client() as client:
            reads = client.info("commandstats").get("cmdstat_xrange", {"calls": 0})["calls"]
    publisher.close()
    assert all(found.ok for found in results[1:])
    assert all(member.offsets == list(range(1, 151)) for member in members)
    assert reads <= 10


async def test_who_saw_more_elsewhere_waits_for_it(redis_server: RedisServer, layer_prefix: str) -> None:
    """Its offset is ahead of what has come here: it joins once that has come, and gets nothing twice."""
    publisher = publisher_of(redis_server, layer_prefix)
    here = Member()
    async with running_hub(redis_server.url, layer_prefix) as hub:
        _, epoch = await join(hub, here)
        await asyncio.to_thread(publish, publisher, 5)
        await wait_until_async(lambda: here.offsets[-1:] == [5])
        hub._subscriber.pause()  # as if this gateway's connection were slow
        await asyncio.to_thread(publish, publisher, 5)
        ahead = Member()
        found = await recover(hub, ahead, 10, epoch)
        assert (found.ok, found.publications, here.offsets[-1]) == (True, [], 10)
        hub._subscriber.resume()
        await asyncio.to_thread(publish, publisher, 1)
        await wait_until_async(lambda: ahead.offsets == [11] and here.offsets[-1] == 11)
    publisher.close()
    assert here.offsets == list(range(1, 12))


async def test_our_own_queue_loses_nothing(
    redis_server: RedisServer, layer_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the bound on what waits behind a long member list it is forgotten, and read again when it is its turn."""
    monkeypatch.setattr(fanout, "TURN_COST", 2 * fanout.WRITE_COST)
    monkeypatch.setattr(fanout, "GROUP_WAITING_MAX_BYTES", 2_000)
    publisher = publisher_of(redis_server, layer_prefix)
    members = [Member() for _ in range(3_000)]
    async with running_hub(redis_server.url, layer_prefix) as hub:
        for member in members:
            await join(hub, member)
        last = await asyncio.to_thread(publish, publisher, 500)
        await wait_until_async(lambda: all(member.offsets[-1:] == [last] for member in members))
        assert hub.healer is not None
        assert hub.healer.heals > 0
    publisher.close()
    assert all(member.offsets == list(range(1, 501)) for member in members)
    assert not any(member.lost for member in members)


async def test_quiet_channels_are_compared(
    redis_server: RedisServer, layer_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publication that was lost without a trace comes at the next check of positions."""
    monkeypatch.setattr(healing, "CHECK_INTERVAL_S", 0.5)
    publisher = publisher_of(redis_server, layer_prefix)
    member = Member()
    async with running_hub(redis_server.url, layer_prefix) as hub:
        await join(hub, member)
        hub._subscriber._shards[0]._burst._on_messages = lambda _messages: None  # type: ignore[union-attr]
        await asyncio.to_thread(publish, publisher, 3)
        await wait_until_async(lambda: member.offsets == [1, 2, 3], what="the check of positions heals")
    publisher.close()


async def test_a_heal_that_fails_for_no_known_reason_is_told(
    redis_server: RedisServer, layer_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The channel does not fall silent: members start anew, and what comes next reaches those that did not count."""
    publisher = publisher_of(redis_server, layer_prefix)
    member = Member()
    async with running_hub(redis_server.url, layer_prefix) as hub:
        await join(hub, member)

        async def fails(*_arguments: Any, **_options: Any) -> None:
            raise RuntimeError("nobody could know")

        assert hub.healer is not None
        monkeypatch.setattr(hub.healer._streams, "read", fails)
        hub._subscriber.pause()
        await asyncio.to_thread(publish, publisher, 1)
        with redis_server.client() as client:
            client.client_kill_filter(_type="pubsub")
        hub._subscriber.resume()
        await wait_until_async(lambda: hub.connected)
        await asyncio.to_thread(publish, publisher, 3)
        await wait_until_async(lambda: member.lost == [CHANNEL] or member.offsets == [1, 2, 3, 4])
        monkeypatch.undo()
        back = Member()
        start, _ = await join(hub, back)
        last = await asyncio.to_thread(publish, publisher, 2)
        await wait_until_async(lambda: back.offsets[-1:] == [last])
    publisher.close()
    assert back.offsets == list(range(start + 1, last + 1))


async def test_any_json_survives_the_way(redis_server: RedisServer, layer_prefix: str) -> None:
    """Empty objects and arrays, 64 KiB, every plane of Unicode: live and recovered alike."""
    values = [{}, [], {"a": {}, "b": [[]]}, "\u0000", "ä€😀", "x" * 65_000, 2**63, -1.5, None, True]
    publisher = publisher_of(redis_server, layer_prefix)
    async with running_hub(redis_server.url, layer_prefix) as hub:
        first = Member()
        _, epoch = await join(hub, first)
        for value in values:
            await asyncio.to_thread(publisher.publish, CHANNEL, value)
        await wait_until_async(lambda: first.offsets[-1:] == [len(values)])
        found = await recover(hub, Member(), 0, epoch)
    publisher.close()
    assert [kept.publication.data for kept in found.publications] == values
    assert all(msgspec.json.encode(kept.publication.data) for kept in found.publications)
