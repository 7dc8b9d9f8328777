"""ws_gateway.endpoints.joining: many clients wait for one channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import structlog

from clarion.errors import ClarionError
from tests.support.waiting import wait_until_async
from ws_gateway.endpoints.joining import TURN_JOINS, Joins
from ws_gateway.protocol.effects import Join
from ws_gateway.protocol.subscriptions import Subscription


class FakeClient:
    """Notes what became of its joins."""

    def __init__(self, *, is_broken: bool = False) -> None:
        self.is_gone = False
        self.is_broken = is_broken
        self.joins: list[Join] = []
        self.failures: list[ClarionError] = []
        self.runs = 0
        self.session = self
        self.then: Callable[[], None] = lambda: None

    def joined(self, effect: Join, _recovered: None) -> None:
        if self.is_broken:
            raise RuntimeError("a defect")
        self.joins.append(effect)

    def join_failed(self, _effect: Join, exc: ClarionError, _now: float) -> None:
        self.failures.append(exc)

    def run(self) -> None:
        self.runs += 1
        self.then()


class FakeHub:
    """Has a channel once ``answer`` says whether it is ready."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.entered = 0

    @asynccontextmanager
    async def holding(self, _channel: str, _timeout_s: float) -> AsyncIterator[bool]:
        self.entered += 1
        yield await asyncio.shield(self.answer)


class Stage:
    """Joins on a hub, and the tasks that they started."""

    def __init__(self) -> None:
        self.hub = FakeHub()
        self.tasks: list[asyncio.Task[None]] = []
        gateway = SimpleNamespace(hub=self.hub, join_timeout_s=1.0, now=lambda: 0.0, start_task=self.start)
        self.joins = Joins(gateway)  # type: ignore[arg-type]

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    def add(self, client: FakeClient, channel: str = "open:a") -> None:
        self.joins.add(client, Join(1, channel, Subscription()))  # type: ignore[arg-type]


async def test_joins_of_one_channel_share_a_task_however_many_they_are() -> None:
    """Also those that come while the first ones are answered; another channel has a task of its own."""
    stage = Stage()
    clients = [FakeClient() for _ in range(3 * TURN_JOINS)]
    for client in clients:
        stage.add(client)
    stage.add(FakeClient(), "open:b")
    await wait_until_async(lambda: stage.hub.entered == 2)
    stage.hub.answer.set_result(True)
    late = FakeClient()
    clients[0].then = lambda: stage.add(late)
    await asyncio.gather(*stage.tasks)
    assert all(len(client.joins) == client.runs == 1 for client in [*clients, late])
    assert len(stage.tasks) == 2


async def test_joins_of_a_channel_that_is_not_ready_in_time_all_fail() -> None:
    """Each client is told, with an error after which it tries again; the next join begins anew."""
    stage = Stage()
    clients = [FakeClient(), FakeClient()]
    for client in clients:
        stage.add(client)
    stage.hub.answer.set_result(False)
    await asyncio.gather(*stage.tasks)
    assert [[failure.temporary for failure in client.failures] for client in clients] == [[True], [True]]
    stage.add(FakeClient())
    assert len(stage.tasks) == 2
    await asyncio.gather(*stage.tasks)


async def test_joins_leave_out_who_is_gone() -> None:
    """What was under way for a closed connection is for nobody."""
    stage = Stage()
    gone, there = FakeClient(), FakeClient()
    stage.add(gone)
    stage.add(there)
    gone.is_gone = True
    stage.hub.answer.set_result(True)
    await asyncio.gather(*stage.tasks)
    assert not gone.joins
    assert there.joins


async def test_joins_answer_everybody_though_one_of_them_fails() -> None:
    """A defect is logged, its client gets an error, and the others join."""
    stage = Stage()
    broken, there = FakeClient(is_broken=True), FakeClient()
    stage.add(broken)
    stage.add(there)
    stage.hub.answer.set_result(True)
    with structlog.testing.capture_logs() as logs:
        await asyncio.gather(*stage.tasks)
    assert len(broken.failures) == 1
    assert there.joins
    assert [line["event"] for line in logs] == ["subscribe.failed"]
