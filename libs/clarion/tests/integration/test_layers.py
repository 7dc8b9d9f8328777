"""clarion.layers on a real Redis: the stock layer's wire, and what the stock layer lacks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from channels.exceptions import MessageTooLarge, StopConsumer
from channels.utils import await_many_dispatch
from channels_redis.pubsub import RedisPubSubChannelLayer

from clarion import layers as layers_module
from clarion.errors import ChannelLayerUnavailable, NameInvalid
from clarion.layers import ClarionChannelLayer
from clarion.publisher import Publisher
from clarion.subscriber import Subscriber
from tests.support.child import child_start, child_stop
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until_async

DEADLINE_S = 10.0


@pytest.fixture
async def layer(redis_server: RedisServer) -> AsyncIterator[ClarionChannelLayer]:
    layer = ClarionChannelLayer([redis_server.url], timeout_s=0.5)
    yield layer
    await layer.flush()


@pytest.fixture
async def stock(redis_server: RedisServer) -> AsyncIterator[RedisPubSubChannelLayer]:
    layer = RedisPubSubChannelLayer(hosts=[redis_server.url])
    yield layer
    await layer.flush()


def telling_layer(server: RedisServer) -> tuple[ClarionChannelLayer, list[str]]:
    """A layer, and what it tells of its connection, as it comes."""
    told: list[str] = []
    layer = ClarionChannelLayer(
        [server.url],
        timeout_s=0.5,
        on_disconnect=lambda: told.append("disconnect"),
        on_reconnect=lambda: told.append("reconnect"),
    )
    return layer, told


async def receive(layer: Any, channel: str) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE_S):
        message: dict[str, Any] = await layer.receive(channel)
        return message


async def member(layer: Any, group: str, server: RedisServer) -> str:
    """A new member of a group, once Redis has the subscription."""
    channel: str = await layer.new_channel()
    await layer.group_add(group, channel)
    name = f"asgi__group__{group}"
    with server.client() as client:
        await wait_until_async(lambda: client.pubsub_numsub(name)[0][1] > 0)
    return channel


async def test_the_wire_is_the_stock_layers_both_ways(
    redis_server: RedisServer, layer: ClarionChannelLayer, stock: RedisPubSubChannelLayer
) -> None:
    """What a stock service sends we receive, and what we send it receives: groups and single channels."""
    message = {"type": "chat.message", "message": "hi", "n": 1, "nested": {"a": [1.5, None, True]}}
    ours, theirs = await member(layer, "chat:x", redis_server), await member(stock, "chat:x", redis_server)
    for sender in (layer, stock):
        await sender.group_send("chat:x", message)
        assert await receive(layer, ours) == message
        assert await receive(stock, theirs) == message
    await layer.send(theirs, message)
    assert await receive(stock, theirs) == message
    await stock.send(ours, message)
    assert await receive(layer, ours) == message


async def test_names_are_checked(layer: ClarionChannelLayer) -> None:
    """The stock pub/sub layer takes any name; ours says which rule was broken."""
    channel = await layer.new_channel()
    for bad in ("a b", "", "ä", "a" * 201, None):
        with pytest.raises(NameInvalid):
            await layer.group_send(bad, {"type": "x"})
        with pytest.raises(TypeError):
            await layer.group_add(bad, channel)
    await layer.group_add("#42", channel)


async def test_a_message_over_1_mib_is_refused(layer: ClarionChannelLayer) -> None:
    """MessageTooLarge, and the connection stays usable."""
    with pytest.raises(MessageTooLarge):
        await layer.group_send("chat:x", {"type": "x", "data": "x" * 1_048_576})
    await layer.group_send("chat:x", {"type": "x"})


async def test_a_redis_that_is_away_is_an_error_not_a_hang(
    redis_server: RedisServer, layer: ClarionChannelLayer
) -> None:
    """Refused or black-holed: ChannelLayerUnavailable within the timeout, whoever else is waiting."""
    await layer.group_send("chat:x", {"type": "x"})
    redis_server.pause()
    started = time.monotonic()
    results = await asyncio.gather(
        *(layer.group_send("chat:x", {"type": "x"}) for _ in range(200)), return_exceptions=True
    )
    assert time.monotonic() - started < 3
    assert {type(result) for result in results} == {ChannelLayerUnavailable}
    redis_server.resume()
    redis_server.stop()
    with pytest.raises(ChannelLayerUnavailable):
        await layer.group_send("chat:x", {"type": "x"})


async def test_a_storm_of_group_adds_is_served(redis_server: RedisServer, layer: ClarionChannelLayer) -> None:
    """400 consumers that join at once: none is refused a connection."""

    async def join(number: int) -> None:
        await layer.group_add(f"room.{number}", await layer.new_channel())

    async with asyncio.timeout(30):
        await asyncio.gather(*(join(number) for number in range(400)))
        await asyncio.gather(*(layer.group_send(f"room.{number}", {"type": "x"}) for number in range(400)))
    assert len(layer._get_layer().groups) == 400


async def test_losing_and_regaining_redis_is_told_and_members_receive_again(redis_server: RedisServer) -> None:
    """on_disconnect and on_reconnect are called (channels_redis 4.3 ignores them); groups stand again."""
    told: list[str] = []

    async def on_reconnect() -> None:
        told.append("reconnect")

    layer = ClarionChannelLayer(
        [redis_server.url], timeout_s=0.5, on_disconnect=lambda: told.append("disconnect"), on_reconnect=on_reconnect
    )
    try:
        channel = await member(layer, "chat:x", redis_server)
        redis_server.restart()
        await wait_until_async(lambda: told == ["disconnect", "reconnect"])
        with redis_server.client() as client:
            await wait_until_async(lambda: client.pubsub_numsub("asgi__group__chat:x")[0][1] > 0)
        await layer.group_send("chat:x", {"type": "x", "n": 1})
        assert await receive(layer, channel) == {"type": "x", "n": 1}
    finally:
        await layer.flush()


async def test_a_black_hole_is_noticed_by_the_receiving_side(redis_server: RedisServer) -> None:
    """A Redis that keeps the connection open and answers nothing counts as lost; members receive again after it."""
    layer, told = telling_layer(redis_server)
    try:
        channel = await member(layer, "chat:x", redis_server)
        redis_server.pause()
        await wait_until_async(lambda: told == ["disconnect"])
        redis_server.resume()
        await wait_until_async(lambda: told == ["disconnect", "reconnect"])
        with redis_server.client() as client:
            await wait_until_async(lambda: client.pubsub_numsub("asgi__group__chat:x")[0][1] > 0)
        await layer.group_send("chat:x", {"type": "x"})
        assert await receive(layer, channel) == {"type": "x"}
    finally:
        redis_server.resume()
        await layer.flush()


async def test_a_full_disk_takes_nothing_from_who_needs_none(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis refuses PING with MISCONF and delivers all the same: nobody is told of a loss, and sends go out."""
    monkeypatch.setattr(layers_module, "PING_INTERVAL_S", 0.2)
    layer, told = telling_layer(redis_server)
    try:
        channel = await member(layer, "chat:x", redis_server)
        redis_server.disk_full()
        with redis_server.client() as client:
            refused = partial(_errors, client)
            before = refused()
            await wait_until_async(lambda: refused() >= before + 3, what="PINGs are refused")
        for number in range(3):
            await layer.group_send("chat:x", {"type": "x", "n": number})
            assert await receive(layer, channel) == {"type": "x", "n": number}
            await asyncio.sleep(0.3)  # a sender that is idle for longer than its interval would ask first
    finally:
        await layer.flush()
    assert told == []


def _errors(client: Any) -> int:
    """How often this Redis has answered MISCONF."""
    return int(client.info("errorstats").get("errorstat_MISCONF", {"count": 0})["count"])


async def test_a_unix_socket_serves_all_three(tmp_path: Path) -> None:
    """Layer, subscriber and publisher take unix:// URLs."""
    path = tmp_path / "redis.sock"
    server = child_start(["redis-server", "--port", "0", "--unixsocket", path, "--save", ""], tmp_path / "log")
    heard: list[Any] = []
    layer = ClarionChannelLayer([f"unix://{path}"])
    subscriber = Subscriber([f"unix://{path}"], on_messages=heard.append)
    try:
        await wait_until_async(path.exists)
        subscriber.start()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.shield(subscriber.subscribe("asgi__group__chat:x"))
        Publisher([f"unix://{path}"]).publish("chat:x", 1)
        await layer.group_send("chat:x", {"type": "x"})
        await wait_until_async(lambda: sum(len(read[b"asgi__group__chat:x"]) for read in heard) == 2)
        assert layer.deserialize(heard[0][b"asgi__group__chat:x"][0])["data"] == 1
    finally:
        await subscriber.stop()
        await layer.flush()
        child_stop(server)


async def test_a_consumer_that_ends_without_group_discard_leaves_nothing(
    redis_server: RedisServer, layer: ClarionChannelLayer
) -> None:
    """Its receive is cancelled with it: no member, no group and no Redis subscription stay; other members do."""
    gone, stays = await member(layer, "chat:x", redis_server), await member(layer, "chat:x", redis_server)
    await layer.group_add("chat:y", gone)
    waiting = asyncio.create_task(layer.receive(gone))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    state = layer._get_layer()
    assert list(state.groups) == ["asgi__group__chat:x"]
    assert state.groups["asgi__group__chat:x"] == {stays}
    with redis_server.client() as client:
        await wait_until_async(lambda: client.pubsub_numsub("asgi__group__chat:y")[0][1] == 0)
    await layer.group_send("chat:x", {"type": "x"})
    assert await receive(layer, stays) == {"type": "x"}


async def consumer_run(layer: ClarionChannelLayer, client: asyncio.Queue[str]) -> None:
    """A member of chat:x as Channels runs it; the client's "leave" and a layer message of type "bad" end it."""
    channel = await layer.new_channel()
    await layer.group_add("chat:x", channel)

    async def dispatch(event: Any) -> None:
        if event == "leave":
            await layer.group_discard("chat:x", channel)
            await layer.send(channel, {"type": "late"})
            await wait_until_async(lambda: not layer._owners._receiving[channel])  # receive() has returned
            raise StopConsumer
        if event["type"] == "bad":
            raise KeyError("message")

    await await_many_dispatch([client.get, partial(layer.receive, channel)], dispatch)


@pytest.mark.parametrize(("how", "error"), [("leave", StopConsumer), ("bad", KeyError)])
async def test_a_consumer_that_ends_as_a_message_comes_leaves_nothing(
    redis_server: RedisServer, layer: ClarionChannelLayer, how: str, error: type[Exception]
) -> None:
    """Its receive() has returned and cannot be cancelled: neither channel, member nor subscription stays."""
    stays = await member(layer, "chat:y", redis_server)
    client: asyncio.Queue[str] = asyncio.Queue()
    run = asyncio.ensure_future(consumer_run(layer, client))
    with redis_server.client() as redis:
        await wait_until_async(lambda: redis.pubsub_numsub("asgi__group__chat:x")[0][1] == 1)
        if how == "leave":
            client.put_nowait("leave")
        else:
            await layer.group_send("chat:x", {"type": "bad"})
        with pytest.raises(error):
            async with asyncio.timeout(DEADLINE_S):
                await run
        await wait_until_async(
            lambda: sorted(redis.pubsub_channels()) == sorted([b"asgi__group__chat:y", stays.encode()])
        )
    assert (list(layer.channels), list(layer.groups)) == ([stays], ["asgi__group__chat:y"])


async def test_what_a_missing_redis_refuses_leaves_nothing(redis_server: RedisServer) -> None:
    """A refused new_channel, receive or group_add holds nothing, and works when Redis is back."""
    lost = asyncio.Event()
    layer = ClarionChannelLayer([redis_server.url], timeout_s=0.5, on_disconnect=lost.set)
    channel = await layer.new_channel()
    waiting = asyncio.ensure_future(layer.receive(channel))
    redis_server.stop()
    async with asyncio.timeout(DEADLINE_S):
        await lost.wait()
    for refused in (layer.new_channel, partial(layer.receive, "tasks"), partial(layer.group_add, "chat:x", channel)):
        with pytest.raises(ChannelLayerUnavailable):
            await refused()
    assert list(layer.channels) == [channel]
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (layer.channels, layer.groups, layer._groups_of) == ({}, {}, {})
    redis_server.start()
    receiving = asyncio.ensure_future(receive(layer, "tasks"))
    with redis_server.client() as client:
        await wait_until_async(lambda: client.pubsub_numsub("tasks")[0][1] == 1)
    await layer.send("tasks", {"type": "x"})
    assert await receiving == {"type": "x"}
    await layer.flush()


async def test_a_mailbox_is_bounded_and_drops_the_oldest(redis_server: RedisServer) -> None:
    """A consumer that does not read holds at most `capacity` messages."""
    layer = ClarionChannelLayer([redis_server.url], capacity=10)
    try:
        channel = await member(layer, "chat:x", redis_server)
        for number in range(25):
            await layer.group_send("chat:x", {"type": "x", "n": number})
        queue = layer._get_layer().channels[channel]
        await wait_until_async(lambda: queue.dropped == 15)
        assert [(await receive(layer, channel))["n"] for _ in range(10)] == list(range(15, 25))
    finally:
        await layer.flush()


async def test_an_idle_receiver_is_not_killed(redis_server: RedisServer, layer: ClarionChannelLayer) -> None:
    """A read timeout on an idle group is no fault (redis-py 8's default kills core's receivers after 5 s)."""
    channel = await member(layer, "chat:x", redis_server)
    await asyncio.sleep(1.5)  # three times the timeout: nothing can be awaited while nothing may happen
    await layer.group_send("chat:x", {"type": "x"})
    assert await receive(layer, channel) == {"type": "x"}


def test_each_event_loop_has_connections_of_its_own(redis_server: RedisServer) -> None:
    """One layer object serves several loops, one after the other, as async_to_sync makes them."""
    layer = ClarionChannelLayer([redis_server.url])
    for _ in range(3):
        asyncio.run(layer.group_send("chat:x", {"type": "x"}))
    with redis_server.client() as client:
        assert len(client.client_list()) == 1
