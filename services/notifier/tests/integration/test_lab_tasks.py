"""The lab's tasks on a real Redis: each run once, reported in order, bounded, and taken again after an outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast
from uuid import uuid4

import pytest
import redis

from clarion.errors import ChannelLayerUnavailable
from clarion.layers import ClarionChannelLayer
from clarion.names import lab_task_claim, lab_tasks_channel
from clarion.publications import Message
from notifier.lab_tasks import TASKS_MAX, LabTasks
from tests.support.notifier_process import StartNotifier
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until, wait_until_async

DEADLINE_S = 60.0
TASKS = lab_tasks_channel("asgi")


class Page:
    """What the lesson's consumer does: it sends tasks and keeps what is reported."""

    def __init__(self, layer: ClarionChannelLayer, channel_name: str) -> None:
        self._layer = layer
        self.channel_name = channel_name
        self.reports: list[dict[str, Any]] = []

    async def ask(self, steps: int = 3, **fields: Any) -> str:
        """Send a task and return its id."""
        message = {"type": "lab.task", "id": uuid4().hex, "reply_to": self.channel_name, "steps": steps, **fields}
        await self._layer.send(TASKS, message)
        return str(message["id"])

    def done(self, task_id: str) -> list[int]:
        """The steps that were reported of a task, in order of arrival."""
        return [report["done"] for report in self.reports if report["id"] == task_id]

    def workers(self, task_id: str) -> set[str]:
        """Who reported."""
        return {report["worker"] for report in self.reports if report["id"] == task_id}

    async def listen(self) -> None:
        """Keep what arrives."""
        while True:
            self.reports.append(await self._layer.receive(self.channel_name))


@pytest.fixture
async def page(redis_server: RedisServer) -> AsyncIterator[Page]:
    layer = ClarionChannelLayer([redis_server.url], timeout_s=1)
    page = Page(layer, await layer.new_channel())
    listening = asyncio.ensure_future(page.listen())
    yield page
    listening.cancel()
    await asyncio.wait([listening])
    await layer.flush()


def listeners(server: RedisServer) -> int:
    """How many notifiers Redis has as listening for tasks."""
    try:
        with server.client() as client:
            return int(client.pubsub_numsub(TASKS)[0][1])
    except redis.RedisError:
        return 0


class WatchedLayer:
    """A channel layer, and the layer channels for which it found Redis away."""

    def __init__(self, layer: ClarionChannelLayer, failures: list[str]) -> None:
        self._layer = layer
        self._failures = failures

    async def send(self, channel: str, message: Message) -> None:
        """As the layer does."""
        with self._noting(channel):
            await self._layer.send(channel, message)

    async def receive(self, channel: str) -> Message:
        """As the layer does."""
        with self._noting(channel):
            return cast("Message", await self._layer.receive(channel))

    @contextmanager
    def _noting(self, channel: str) -> Iterator[None]:
        try:
            yield
        except ChannelLayerUnavailable:
            self._failures.append(channel)
            raise


@asynccontextmanager
async def running(
    server: RedisServer, *nodes: str, step_s: float = 0.001, wait: bool = True
) -> AsyncIterator[list[str]]:
    """A notifier's lab tasks, on a layer of its own each; the layer channels that met an outage, as they do."""
    failures: list[str] = []
    layers = [ClarionChannelLayer([server.url], timeout_s=0.5) for _ in nodes]
    runs = [
        asyncio.ensure_future(
            LabTasks(
                WatchedLayer(layer, failures),
                redis_url=server.url,
                prefix="asgi",
                node=node,
                timeout_s=0.5,
                step_s=step_s,
            ).run()
        )
        for layer, node in zip(layers, nodes, strict=True)
    ]
    try:
        if wait:
            await wait_until_async(lambda: listeners(server) == len(nodes), DEADLINE_S)
        yield failures
        assert not any(run.done() for run in runs)
    finally:
        for run in runs:
            run.cancel()
        await asyncio.wait(runs)
        for layer in layers:
            await layer.flush()


async def test_each_task_is_run_by_one_of_two_notifiers(redis_server: RedisServer, page: Page) -> None:
    """Both receive it, one claims it; its steps are reported in order, each once."""
    async with running(redis_server, "one", "two"):
        tasks = []
        for steps in range(1, 31):
            tasks.append((await page.ask(steps), steps))
            await wait_until_async(lambda: page.reports and page.done(tasks[-1][0])[-1:] == [tasks[-1][1]], DEADLINE_S)
    for task_id, steps in tasks:
        assert page.done(task_id) == list(range(1, steps + 1))
        assert len(page.workers(task_id)) == 1
    assert len(page.reports) == sum(range(1, 31))
    with redis_server.client() as client:
        assert 0 < client.ttl(lab_task_claim("asgi", tasks[-1][0])) <= 600


async def test_a_task_that_is_sent_twice_is_run_once(redis_server: RedisServer, page: Page) -> None:
    """The claim outlives the task."""
    async with running(redis_server, "one"):
        first = await page.ask(2)
        await wait_until_async(lambda: page.done(first) == [1, 2], DEADLINE_S)
        await page.ask(2, id=first)
        second = await page.ask(2)
        await wait_until_async(lambda: page.done(second) == [1, 2], DEADLINE_S)
    assert page.done(first) == [1, 2]


async def test_a_full_notifier_leaves_tasks_to_others(redis_server: RedisServer, page: Page) -> None:
    """Ten at once; the next is not claimed. With a second notifier it is taken there."""
    async with running(redis_server, "one", step_s=60):
        for _ in range(TASKS_MAX):
            await page.ask()
        await wait_until_async(lambda: claims(redis_server) == TASKS_MAX, DEADLINE_S)
        left = await page.ask()
        async with running_beside(redis_server, "two"):
            taken = await page.ask(1)
            await wait_until_async(lambda: page.done(taken) == [1], DEADLINE_S)
        assert page.workers(taken) == {"two"}
    assert page.done(left) == []


@asynccontextmanager
async def running_beside(server: RedisServer, node: str) -> AsyncIterator[None]:
    """One more notifier."""
    before = listeners(server)
    async with running(server, node, wait=False):
        await wait_until_async(lambda: listeners(server) == before + 1, DEADLINE_S)
        yield


def claims(server: RedisServer) -> int:
    with server.client() as client:
        return len(client.keys(lab_task_claim("asgi", "*")))


async def test_rubbish_ends_nothing(redis_server: RedisServer, page: Page) -> None:
    """Not msgpack, not a dict, not a task, an address that is none: the next task is run all the same."""
    async with running(redis_server, "one"):
        with redis_server.client() as client:
            for payload in (b"\xc1", b"", b"\x01", b"\x80", b"\x93\x01\x02\x03"):
                client.publish(TASKS, payload)
        for fields in ({"steps": 10**6}, {"id": "x"}, {"reply_to": "asgi__group__news:x"}):
            await page.ask(**fields)
        good = await page.ask(1)
        await wait_until_async(lambda: page.done(good) == [1], DEADLINE_S)
    assert claims(redis_server) == 1
    assert len(page.reports) == 1


class FailingLayer:
    """Refuses every second message."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[Message] = asyncio.Queue()
        self.calls = 0
        self.sent: list[int] = []

    async def receive(self, channel: str) -> Message:
        return await self.waiting.get()

    async def send(self, channel: str, message: Message) -> None:
        self.calls += 1
        if self.calls % 2 == 0:
            raise ChannelLayerUnavailable
        self.sent.append(message["done"])


async def test_the_last_report_is_tried_again(redis_server: RedisServer) -> None:
    """One that is followed by another may be lost; the last one is what ends the page's wait."""
    layer = FailingLayer()
    tasks = LabTasks(layer, redis_url=redis_server.url, prefix="asgi", node="one", timeout_s=1, step_s=0)
    run = asyncio.ensure_future(tasks.run())
    message = {"type": "lab.task", "id": uuid4().hex, "reply_to": f"asgispecific.{'0' * 32}", "steps": 4}
    layer.waiting.put_nowait(message)
    await wait_until_async(lambda: layer.sent == [1, 3, 4], DEADLINE_S)
    run.cancel()
    await asyncio.wait([run])


async def test_an_outage_costs_reports_and_no_task(redis_server: RedisServer, page: Page) -> None:
    """Redis goes in the middle of a task and comes back: its end is reported, and new tasks are taken."""
    async with running(redis_server, "one", step_s=0.05) as failures:
        task_id = await page.ask(40)
        await wait_until_async(lambda: len(page.done(task_id)) > 2, DEADLINE_S)
        redis_server.stop()
        await wait_until_async(lambda: page.channel_name in failures, DEADLINE_S)
        redis_server.start()
        await wait_until_async(lambda: page.done(task_id)[-1:] == [40], DEADLINE_S)
        done = page.done(task_id)
        assert done == sorted(set(done))
        await wait_until_async(lambda: listeners(redis_server) == 1, DEADLINE_S)
        after = await page.ask(1)
        await wait_until_async(lambda: page.done(after) == [1], DEADLINE_S)


async def test_a_missing_redis_is_waited_for(redis_server: RedisServer) -> None:
    """Started while Redis is away, it takes tasks once Redis is there."""
    redis_server.stop()
    async with running(redis_server, "one", wait=False) as failures:
        await wait_until_async(lambda: failures.count(TASKS) > 1, DEADLINE_S)
        redis_server.start()
        await wait_until_async(lambda: listeners(redis_server) == 1, DEADLINE_S)


async def test_the_end_leaves_nothing(redis_server: RedisServer, page: Page) -> None:
    """Cancelled, its tasks end with it, and its connections are closed."""
    with redis_server.client() as client:
        async with running(redis_server, "one", step_s=60):
            await page.ask()
            await wait_until_async(lambda: claims(redis_server) == 1, DEADLINE_S)
            others = asyncio.all_tasks()
        names = {str(task.get_coro()) for task in asyncio.all_tasks()}
        assert not any("LabTasks" in name for name in names), names
        assert len(asyncio.all_tasks()) < len(others)
        # This test's own, and the page's two: one to send, one to receive.
        await wait_until_async(lambda: len(client.client_list()) == 3, DEADLINE_S)


def test_a_notifier_takes_tasks_where_the_lab_is_on(start: StartNotifier, redis_server: RedisServer) -> None:
    """On in development; switched off, nobody listens. It ends at once, whatever runs."""
    off = start(CLARION_LAB="false")
    assert listeners(redis_server) == 0
    on = start(CLARION_NODE="worker-1")
    wait_until(lambda: listeners(redis_server) == 1, DEADLINE_S)
    asyncio.run(_ask_and_see(redis_server))
    assert on.events("lab_task.started")
    assert on.stop() == 0
    assert off.stop() == 0


async def _ask_and_see(server: RedisServer) -> None:
    layer = ClarionChannelLayer([server.url])
    page = Page(layer, await layer.new_channel())
    listening = asyncio.ensure_future(page.listen())
    task_id = await page.ask(100)
    await wait_until_async(lambda: page.done(task_id)[:2] == [1, 2], DEADLINE_S)
    assert page.workers(task_id) == {"worker-1"}
    listening.cancel()
    await asyncio.wait([listening])
    await layer.flush()
