"""The lesson "Worker" on a real Redis: with a worker of the test's own, with none, and with a real notifier."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from channels.layers import get_channel_layer
from pytest_django import Settings

from tests.support.databases import Database, sqlite_database, sqlite_template  # noqa: F401 - fixtures
from tests.support.notifier_process import NotifierProcess
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until_async
from ws_gateway.lab.consumers.worker import WorkerLesson

from .lab_client import TIMEOUT_S, LabClient, Open, lab_opened, use_layer


@pytest.fixture
async def lab(settings: Settings, shared_redis_url: str, layer_prefix: str) -> AsyncIterator[Open]:
    use_layer(settings, shared_redis_url, layer_prefix)
    async with lab_opened() as opened:
        yield opened


async def named(lab: Open) -> tuple[LabClient, str]:
    """A socket and the name that it was told."""
    client = await lab("worker/")
    first = await client.next()
    assert first.keys() == {"channel_name", "node"}
    return client, first["channel_name"]


class Worker:
    """Hears of tasks as a notifier does, and reports what a test says."""

    def __init__(self, prefix: str) -> None:
        self._receiving = asyncio.ensure_future(get_channel_layer().receive(f"{prefix}.lab-tasks"))

    async def task(self) -> dict[str, Any]:
        """The one task that it takes."""
        async with asyncio.timeout(TIMEOUT_S):
            task: dict[str, Any] = await self._receiving
            return task

    async def report(self, task: dict[str, Any], done: int, **fields: Any) -> None:
        """Tell the page."""
        message = {
            "type": "task.progress",
            "id": task["id"],
            "done": done,
            "of": task["steps"],
            "worker": "w",
            **fields,
        }
        await get_channel_layer().send(task["reply_to"], message)


async def test_task_is_sent_and_its_progress_shown(lab: Open, layer_prefix: str) -> None:
    """Each report is a frame; a report of another task is none; after the end a new task may start."""
    client, name = await named(lab)
    worker = Worker(layer_prefix)
    await asyncio.sleep(0)
    await client.say("start", steps=3)
    started = await client.next()
    task = await worker.task()
    assert started == {"task": {"id": task["id"], "done": 0, "of": 3}}
    assert task == {"type": "lab.task", "id": task["id"], "reply_to": name, "steps": 3}
    for done in (1, 2, 3):
        await worker.report(task, done, id="another")
        await worker.report(task, done)
        assert await client.next() == {"task": {"id": task["id"], "done": done, "of": 3, "worker": "w"}}
    await client.say("start")
    assert (await client.next())["task"]["of"] == 20
    assert await client.silent()


async def test_one_task_at_a_time(lab: Open) -> None:
    """A page cannot fill the workers by itself."""
    client, _ = await named(lab)
    await client.say("start")
    assert "task" in await client.next()
    await client.say("start")
    assert await client.error_code() == "too_many_requests"


@pytest.mark.parametrize("steps", [0, 101, -1, "20", 2.5, True, None, []])
async def test_steps_are_bounded(lab: Open, steps: object) -> None:
    """1 to 100 of them; the socket stays."""
    client, _ = await named(lab)
    await client.say("start", steps=steps)
    assert await client.error_code() == "data_invalid"
    await client.say("start", steps=100)
    assert (await client.next())["task"]["of"] == 100


async def test_silence_of_all_workers_is_told(lab: Open, layer_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nobody takes the task, and when the worker dies on the way; then another task may start."""
    monkeypatch.setattr(WorkerLesson, "silence_s", 0.2)
    client, _ = await named(lab)
    worker = Worker(layer_prefix)
    await asyncio.sleep(0)
    await client.say("start")
    await client.next()
    assert await client.error_code() == "no_worker"
    late = await worker.task()
    await worker.report(late, 1)
    assert await client.silent()
    worker = Worker(layer_prefix)
    await asyncio.sleep(0)
    await client.say("start")
    await client.next()
    await worker.report(await worker.task(), 1)
    assert (await client.next())["task"]["done"] == 1
    assert await client.error_code() == "no_worker"
    assert await client.silent()


async def test_waiting_ends_with_the_socket(lab: Open) -> None:
    """No task is left to tell a client that is gone."""
    client, _ = await named(lab)
    before = asyncio.all_tasks()
    await client.say("start")
    await client.next()
    assert len(asyncio.all_tasks()) == len(before) + 1
    await client.leave()
    await wait_until_async(lambda: len(asyncio.all_tasks()) < len(before))


async def test_question_is_answered_where_it_says(lab: Open) -> None:
    """The page shows it; the answer goes to the asker's own channel."""
    client, name = await named(lab)
    layer = get_channel_layer()
    reply_to = await layer.new_channel()
    await layer.send(name, {"type": "lab.question", "id": "7", "question": "<b>how long?</b>", "reply_to": reply_to})
    async with asyncio.timeout(TIMEOUT_S):
        answer = await layer.receive(reply_to)
    assert answer.pop("answer").startswith("this socket has been open for ")
    assert answer == {"type": "lab.answer", "id": "7", "node": "gateway-1"}
    shown = await client.next()
    assert shown["question"] == "<b>how long?</b>"
    assert shown["answer"].endswith(" s")
    await layer.send(name, {"type": "direct.message", "msg": "lost?", "from": name})
    assert (await client.next())["msg"] == "lost?"


async def test_notifier_does_the_task(
    sqlite_database: Database,  # noqa: F811
    redis_server: RedisServer,
    settings: Settings,
    layer_prefix: str,
    tmp_path: Path,
) -> None:
    """Two services over one layer: a progress bar that a real notifier moves."""
    use_layer(settings, redis_server.url, layer_prefix)
    notifier = NotifierProcess(
        tmp_path, sqlite_database.url, redis_server.url, layer_prefix, CLARION_NODE="notifier-1"
    ).start()
    try:
        async with lab_opened() as lab:
            client, _ = await named(lab)
            with redis_server.client() as redis:
                tasks = f"{layer_prefix}.lab-tasks"
                await wait_until_async(lambda: redis.pubsub_numsub(tasks)[0][1] == 1)
            await client.say("start", steps=4)
            frames = [(await client.next())["task"] for _ in range(5)]
            assert [frame["done"] for frame in frames] == [0, 1, 2, 3, 4]
            assert {frame["worker"] for frame in frames[1:]} == {"notifier-1"}
            assert len({frame["id"] for frame in frames}) == 1
        assert notifier.stop() == 0
    finally:
        notifier.stop(hard=True)
