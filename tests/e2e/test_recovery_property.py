"""Whatever ends in between: each client's log is the stream, once, in order, or it was told that it is not."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.support.recovering_client import RecoveringClient
from tests.support.rest_client import publications_path
from tests.support.sdk_product import SdkProduct, sdk_product, token
from tests.support.waiting import wait_until_async

SECONDS: Final = 20.0
CLIENTS: Final = 12
ARRIVE_S: Final = 8.0
"""Less than the gateways take to notice a gap by their timer: a loss has to be noticed at once."""
Place = tuple[str, str, int]  # channel, epoch, offset


class Story:
    """Publishes, and knows what became of it.

    Attributes:
        facts: what was published where, as REST, the history and the clients say; they must agree.
    """

    def __init__(self, product: SdkProduct, clients: list[RecoveringClient], channels: list[str]) -> None:
        self.product = product
        self.clients = clients
        self.channels = channels
        self.facts: dict[Place, Any] = {}
        self.count = 0
        self._http = product.async_client()

    async def close(self) -> None:
        """Stop the clients."""
        await asyncio.gather(*(client.stop() for client in self.clients))
        await self._http.aclose()

    async def publish(self, channel: str, size: int = 0) -> tuple[str, int] | None:
        """Publish by REST and return epoch and offset; None: Redis is away, and it may be in the stream or not."""
        self.count += 1
        data = {"n": self.count, "text": "ü" * size}
        answer = await self._http.post(publications_path(channel), json={"data": data})
        if answer.status_code != httpx.codes.ACCEPTED:
            assert answer.status_code in (502, 503), answer.text
            return None
        place = answer.json()["epoch"], answer.json()["offset"]
        self._learn((channel, *place), data)
        return place

    def _learn(self, place: Place, data: Any) -> None:
        assert self.facts.setdefault(place, data) == data, f"{place} is two publications"

    async def arrive(self) -> None:
        """Wait until every client stands at the end of every stream, though nothing more is published."""
        tops = {}
        for channel in self.channels:
            async with asyncio.timeout(20):
                while not (top := (await self._history(channel))):
                    continue  # each try waits for Redis
            tops[channel] = top
        await wait_until_async(
            lambda: all(client.is_at(tops) for client in self.clients), ARRIVE_S, what=f"every client is at {tops}"
        )

    async def _history(self, channel: str) -> tuple[str, int] | None:
        answer = (await self._http.post("/api/history", json={"channel": channel, "limit": 0})).json()
        return (answer["result"]["epoch"], answer["result"]["offset"]) if "result" in answer else None

    def check(self) -> None:
        """No client was told a lie, and all were told the same."""
        for client in self.clients:
            for log in client.logs.values():
                assert not log.faults, log.faults[:3]
                for epoch, offset, data in log.taken:
                    self._learn((log.channel, epoch, offset), data)

    @property
    def resets(self) -> int:
        """How often a client was told to reload."""
        return sum(log.resets for client in self.clients for log in client.logs.values())


@pytest.fixture(scope="module")
def product() -> Iterator[SdkProduct]:
    """A product of this file's own: its Redis is killed."""
    with sdk_product(client="recovery_max_publication_limit = 0") as made:
        yield made


@pytest.fixture
def seed() -> int:
    """What the test's randomness is made of; set CLARION_TEST_SEED to have the same once more."""
    found = int(os.environ.get("CLARION_TEST_SEED") or secrets.randbits(32))
    print(f"CLARION_TEST_SEED={found}")
    return found


@pytest.fixture
async def story(product: SdkProduct, seed: int) -> AsyncIterator[Story]:
    """Clients through nginx, some with delta, some by their token; all are where their streams are."""
    tag = f"{seed}-{secrets.token_hex(3)}"
    channels = [f"kept:{tag}-{number}" for number in range(3)]
    clients = []
    for number in range(CLIENTS):
        listed = [channels[2]] if number % 2 else []
        own = [channel for channel in channels if channel not in listed]
        client = RecoveringClient(
            product.url, token(f"{tag}-{number}", channels=listed), own, listed=listed, delta=number % 3 == 0
        )
        client.start()
        clients.append(client)
    made = Story(product, clients, channels)
    await wait_until_async(
        lambda: all(log.epoch for client in clients for log in client.logs.values()), what="all have subscribed"
    )
    yield made
    await made.close()


# What may happen


async def _pause(_story: Story, random_: random.Random) -> None:
    await asyncio.sleep(random_.choice((0.01, 0.1, 0.3)))


async def _drop(story: Story, random_: random.Random) -> None:
    for client in random_.sample(story.clients, random_.randrange(1, 4)):
        client.drop()


async def _leave(story: Story, random_: random.Random) -> None:
    await random_.choice(story.clients).leave(random_.choice(story.channels[:2]))


async def _kill_gateway(story: Story, random_: random.Random) -> None:
    names = ("gateway-1", "gateway-2")
    if all(story.product.pid(name) for name in names):
        story.product.kill(random_.choice(names))


async def _cut_subscriptions(story: Story, _random: random.Random) -> None:
    await asyncio.to_thread(_redis_kill, story.product, "pubsub")


async def _cut_connections(story: Story, _random: random.Random) -> None:
    await asyncio.to_thread(_redis_kill, story.product, "normal")


def _redis_kill(product: SdkProduct, kind: str) -> None:
    with product.redis() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


ACTIONS: Final = {_pause: 55, _drop: 15, _leave: 12, _cut_subscriptions: 8, _cut_connections: 8, _kill_gateway: 2}


async def _publish(story: Story, random_: random.Random, end: float) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() < end:
        channel = random_.choice(story.channels)
        for _ in range(random_.randrange(1, 30)):
            await story.publish(channel, random_.choice((0, 10, 3_000)))
        await asyncio.sleep(random_.choice((0.0, 0.02, 0.2)))


@pytest.mark.timeout(180)
async def test_each_log_is_the_stream(story: Story, seed: int) -> None:
    """Publishes, lost networks, SIGKILLed gateways and cut Redis connections in any order: nothing is lost."""
    random_ = random.Random(seed)
    end = asyncio.get_running_loop().time() + SECONDS
    publishers = [asyncio.create_task(_publish(story, random.Random(seed + n), end)) for n in range(2)]
    happened = Counter[str]()
    while asyncio.get_running_loop().time() < end:
        [action] = random_.choices(list(ACTIONS), list(ACTIONS.values()))
        await action(story, random_)
        happened[action.__name__] += 1
    await asyncio.gather(*publishers)
    await _cut_subscriptions(story, random_)
    for channel in story.channels:
        await story.publish(channel)  # nobody hears these, and none comes behind them
    await story.arrive()
    story.check()
    connects = sum(client.connects for client in story.clients)
    taken = sum(len(log.taken) for client in story.clients for log in client.logs.values())
    print(f"{story.count} published, {taken} taken, {connects} connects, {dict(happened)}")
    assert story.resets == 0


async def _flow(story: Story, count: int) -> None:
    for number in range(count):
        await story.publish(story.channels[number % 3])
        await asyncio.sleep(0.002)


def _aof(product: SdkProduct) -> Path:
    [folder] = (product.run_dir / "redis").glob("appendonlydir")
    return folder


@pytest.mark.timeout(180)
async def test_nothing_is_lost_when_redis_dies_with_its_data(story: Story) -> None:
    """SIGKILL in mid-stream: what was acknowledged is there again, and nobody has to reload."""
    flow = asyncio.create_task(_flow(story, 300))
    await asyncio.sleep(0.3)
    old = story.product.kill("redis")
    await asyncio.to_thread(story.product.wait_restarted, "redis", old)
    await flow
    await story.arrive()
    story.check()
    assert story.resets == 0


@pytest.mark.timeout(180)
async def test_every_client_is_told_when_redis_comes_back_empty(story: Story) -> None:
    """SIGKILL in mid-stream without its files: every log holds a recovered: false, and goes on behind it."""
    flow = asyncio.create_task(_flow(story, 300))
    await asyncio.sleep(0.3)
    shutil.rmtree(_aof(story.product))
    old = story.product.kill("redis")
    await asyncio.to_thread(story.product.wait_restarted, "redis", old)
    await flow
    await story.arrive()
    story.check()
    assert all(log.resets for client in story.clients for log in client.logs.values())


@pytest.mark.timeout(180)
async def test_every_client_is_told_when_redis_comes_back_with_old_data(story: Story, tmp_path: Path) -> None:
    """The same with the files of a moment before: offsets that clients have seen are given out again."""
    await _flow(story, 60)
    await story.arrive()
    shutil.copytree(_aof(story.product), tmp_path / "aof")
    await _flow(story, 60)
    await story.arrive()
    story.check()
    shutil.rmtree(_aof(story.product))
    shutil.copytree(tmp_path / "aof", story.product.run_dir / "redis" / "appendonlydir")
    story.facts.clear()
    old = story.product.kill("redis")
    await asyncio.to_thread(story.product.wait_restarted, "redis", old)
    await _flow(story, 30)
    await story.arrive()
    assert all(log.resets for client in story.clients for log in client.logs.values())
    assert not [log.faults for client in story.clients for log in client.logs.values() if log.faults]
