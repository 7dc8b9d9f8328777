"""clarion.subscriber on a real Redis: bursts, confirmations, loss and return."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from clarion import subscriber as subscriber_module
from clarion.subscriber import Messages, Subscriber
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until_async

DEADLINE_S = 15.0


class Ear:
    """A subscriber and all that it heard."""

    def __init__(self, *urls: str) -> None:
        self.reads: list[Messages] = []
        self.lost = 0
        self.regained = 0
        self.subscriber = Subscriber(
            list(urls), on_messages=self.reads.append, on_lost=self._on_lost, on_regained=self._on_regained
        )

    def _on_lost(self) -> None:
        self.lost += 1

    def _on_regained(self) -> None:
        self.regained += 1

    def heard(self, name: str) -> list[bytes]:
        return [payload for read in self.reads for payload in read.get(name.encode(), [])]

    async def subscribe(self, name: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.shield(self.subscriber.subscribe(name))


@asynccontextmanager
async def listening(*urls: str) -> AsyncIterator[Ear]:
    ear = Ear(*urls)
    ear.subscriber.start()
    try:
        yield ear
    finally:
        await ear.subscriber.stop()


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(url, protocol=2) as redis:
        yield redis


async def test_subscribe_is_done_only_when_redis_delivers(redis_server: RedisServer) -> None:
    """After the future is done, whatever is published arrives: the publisher sees one receiver."""
    async with listening(redis_server.url) as ear, client(redis_server.url) as redis:
        for number in range(50):
            await ear.subscribe(f"a{number}")
            assert await redis.publish(f"a{number}", b"x") == 1


async def test_messages_of_one_read_come_in_one_call_by_channel(redis_server: RedisServer) -> None:
    """A burst is handed over grouped, each channel's payloads in the order published."""
    async with listening(redis_server.url) as ear, client(redis_server.url) as redis:
        await asyncio.gather(ear.subscribe("a"), ear.subscribe("b"))
        pipeline = redis.pipeline(transaction=False)
        for number in range(2_000):
            pipeline.publish("a" if number % 2 else "b", str(number))
        await pipeline.execute()
        await wait_until_async(lambda: len(ear.heard("a")) + len(ear.heard("b")) == 2_000)
        assert ear.heard("a") == [str(number).encode() for number in range(1, 2_000, 2)]
        assert ear.heard("b") == [str(number).encode() for number in range(0, 2_000, 2)]
        assert len(ear.reads) < 500


async def test_a_large_payload_arrives_whole(redis_server: RedisServer) -> None:
    """Payloads larger than one read, of any bytes."""
    async with listening(redis_server.url) as ear, client(redis_server.url) as redis:
        await ear.subscribe("a")
        payload = bytes(range(256)) * 4_000
        await redis.publish("a", payload)
        await wait_until_async(lambda: ear.heard("a"))
        assert ear.heard("a") == [payload]


async def test_unsubscribe_ends_the_subscription_in_redis(redis_server: RedisServer) -> None:
    """What nobody wants is not sent to us."""
    async with listening(redis_server.url) as ear, client(redis_server.url) as redis:
        await ear.subscribe("a")
        ear.subscriber.unsubscribe("a")
        await ear.subscribe("b")  # behind it on the same connection
        assert await redis.publish("a", b"x") == 0


async def test_giving_back_and_taking_again_at_once_ends_subscribed(redis_server: RedisServer) -> None:
    """A confirmation of the first SUBSCRIBE does not count for the second."""
    async with listening(redis_server.url) as ear, client(redis_server.url) as redis:
        await ear.subscribe("other")
        for _ in range(100):
            first = ear.subscriber.subscribe("a")
            await asyncio.sleep(0)  # the command has left
            ear.subscriber.unsubscribe("a")
            assert first.cancelled()
            await ear.subscribe("a")
            assert await redis.publish("a", b"x") == 1
            ear.subscriber.unsubscribe("a")


async def test_a_restart_of_redis_is_told_and_every_subscription_stands_again(redis_server: RedisServer) -> None:
    """Lost and regained are each told once; deliveries go on within 5 s of its return."""
    async with listening(redis_server.url) as ear:
        names = [f"a{number}" for number in range(1_500)]  # more than one SUBSCRIBE command takes
        await asyncio.gather(*(ear.subscribe(name) for name in names))
        assert (ear.lost, ear.regained) == (0, 1)
        redis_server.stop()
        await wait_until_async(lambda: ear.lost == 1)
        assert not ear.subscriber.connected
        late = ear.subscriber.subscribe("late")  # while Redis is away: made when it is back
        redis_server.start()
        async with asyncio.timeout(5):
            await asyncio.shield(late)
            await wait_until_async(lambda: ear.subscriber.connected)
        async with client(redis_server.url) as redis:
            assert [await redis.publish(name, b"x") for name in (*names, "late")] == [1] * 1_501
        assert (ear.lost, ear.regained) == (1, 2)


async def test_a_redis_that_is_not_there_yet_is_waited_for(redis_server: RedisServer) -> None:
    """Started before Redis, it connects once Redis is there."""
    redis_server.stop()
    async with listening(redis_server.url) as ear:
        wanted = ear.subscriber.subscribe("a")
        await asyncio.sleep(0)
        assert not ear.subscriber.connected
        redis_server.start()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.shield(wanted)


async def test_a_black_hole_is_noticed(redis_server: RedisServer) -> None:
    """A Redis that answers nothing but keeps the connection open counts as lost, and is come back to."""
    async with listening(redis_server.url) as ear:
        await ear.subscribe("a")
        redis_server.pause()
        await wait_until_async(lambda: ear.lost == 1)
        redis_server.resume()
        await wait_until_async(lambda: ear.regained == 2)
        async with client(redis_server.url) as redis:
            await wait_until_async(lambda: ear.subscriber.connected)
            assert await redis.publish("a", b"x") == 1


async def test_a_redis_that_cannot_write_its_data_goes_on_delivering(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: PING is answered with MISCONF, which is an answer; what comes in the same read is delivered."""
    monkeypatch.setattr(subscriber_module, "PING_INTERVAL_S", 0.5)
    async with listening(redis_server.url) as ear, client(redis_server.url) as redis:
        await ear.subscribe("a")
        redis_server.disk_full()
        for number in range(100):
            settled = asyncio.create_task(ear.subscriber.settle())
            assert await redis.publish("a", b"%d" % number) == 1
            await settled
        asked = ear.subscriber.reads
        await wait_until_async(lambda: ear.subscriber.reads >= asked + 3)
    assert ear.heard("a") == [b"%d" % number for number in range(100)]
    assert (ear.lost, ear.regained) == (0, 1)


async def test_pause_leaves_messages_in_redis_and_resume_gets_them(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that cannot keep up stops reading; nothing is lost by that, and it is no black hole either."""
    monkeypatch.setattr(subscriber_module, "PING_INTERVAL_S", 0.1)
    async with listening(redis_server.url) as ear, client(redis_server.url) as redis:
        await ear.subscribe("a")
        ear.subscriber.pause()
        before = len(ear.reads)
        for number in range(100):
            await redis.publish("a", str(number))
        await asyncio.sleep(0.5)  # five intervals of silence, in which nothing may happen
        assert len(ear.reads) == before
        ear.subscriber.resume()
        await wait_until_async(lambda: len(ear.heard("a")) == 100)
        assert ear.lost == 0


async def test_resume_at_the_end_of_a_silent_interval_is_no_loss(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading began again in the very turn in which the subscriber asks whether it has read anything."""
    monkeypatch.setattr(subscriber_module, "PING_INTERVAL_S", 0.1)
    wait, resumed = asyncio.wait, asyncio.Event()
    async with listening(redis_server.url) as ear, client(redis_server.url) as redis:

        async def wait_and_resume(*args: Any, **kwargs: Any) -> Any:
            done = await wait(*args, **kwargs)
            ear.subscriber.resume()
            resumed.set()
            return done

        await ear.subscribe("a")
        await ear.subscriber.settle()
        ear.subscriber.pause()
        monkeypatch.setattr(subscriber_module.asyncio, "wait", wait_and_resume)
        await redis.publish("a", b"x")
        await resumed.wait()
        await wait_until_async(lambda: ear.heard("a") == [b"x"])
        assert ear.lost == 0


async def test_names_are_spread_over_shards_as_the_stock_layer_does(redis_server: RedisServer) -> None:
    """channels_redis's own rule on the full Redis name, or stock services and we would disagree."""
    from channels_redis.utils import _consistent_hash

    from tests.support.redis_server import redis_server as another

    with another() as second:
        urls = [redis_server.url, second.url]
        async with listening(*urls) as ear, client(urls[0]) as first_redis, client(urls[1]) as second_redis:
            names = [f"asgi__group__chat:{number}" for number in range(40)]
            await asyncio.gather(*(ear.subscribe(name) for name in names))
            shards = (first_redis, second_redis)
            for name in names:
                assert await shards[_consistent_hash(name, 2)].publish(name, b"x") == 1
            assert {_consistent_hash(name, 2) for name in names} == {0, 1}


@pytest.mark.parametrize("password", ["pass word/%"])
async def test_a_password_of_any_characters_authenticates(redis_server: RedisServer, password: str) -> None:
    """Opening and authenticating is redis-py's: URL quoting included."""
    from urllib.parse import quote

    async with client(redis_server.url) as redis:
        await redis.config_set("requirepass", password)
    url = redis_server.url.replace("redis://", f"redis://:{quote(password, safe='')}@")
    async with listening(url) as ear:
        await ear.subscribe("a")
        assert ear.subscriber.connected


async def test_settle_returns_when_what_was_published_has_been_heard(redis_server: RedisServer) -> None:
    """Whatever a publisher was answered for before the call; several may ask at once, and without subscriptions."""
    async with listening(redis_server.url, redis_server.url) as ear, client(redis_server.url) as redis:
        async with asyncio.timeout(DEADLINE_S):
            await ear.subscriber.settle()
            for name in ("a", "b", "c", "d"):
                await ear.subscribe(name)
            for number in range(1, 200):
                for name in ("a", "b", "c", "d"):
                    await redis.publish(name, b"x" * number)
                await asyncio.gather(ear.subscriber.settle(), ear.subscriber.settle())
                assert {len(ear.heard(name)) for name in ("a", "b", "c", "d")} == {number}


async def test_settle_ends_with_the_connection(redis_server: RedisServer) -> None:
    """Redis that goes amid it has sent all that it will."""
    async with listening(redis_server.url) as ear:
        await ear.subscribe("a")
        redis_server.pause()
        try:
            settling = asyncio.create_task(ear.subscriber.settle())
            await asyncio.sleep(0)
            assert not settling.done()
        finally:
            redis_server.resume()
        redis_server.stop()
        async with asyncio.timeout(DEADLINE_S):
            await settling
            await wait_until_async(lambda: not ear.subscriber.connected)
            await ear.subscriber.settle()
