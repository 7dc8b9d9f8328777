"""ws_gateway.endpoints.joining: many clients wait for one channel."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from types import SimpleNamespace

import structlog

from clarion.errors import ClarionError
from tests.support.waiting import wait_until_async
from ws_gateway.endpoints.joining import TURN_JOINS, Joins
from ws_gateway.hub import PATIENCE
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


class FakeHold:
    """Notes its release."""

    def __init__(self) -> None:
        self.is_released = False

    def release(self) -> None:
        assert not self.is_released
        self.is_released = True


class FakeHub:
    """Has a channel when a test says so."""

    def __init__(self) -> None:
        self.ready: dict[str, Callable[[], None]] = {}
        self.holds: list[FakeHold] = []
        self.is_at_once = False
        self.progress = 0

    def when_ready(self, channel: str, then: Callable[[], None]) -> FakeHold:
        self.ready[channel] = then
        self.holds.append(FakeHold())
        if self.is_at_once:
            then()
        return self.holds[-1]


class Stage:
    """Joins on a hub."""

    def __init__(self, join_timeout_s: float = 30.0) -> None:
        self.hub = FakeHub()
        gateway = SimpleNamespace(hub=self.hub, join_timeout_s=join_timeout_s, now=lambda: 0.0)
        self.joins = Joins(gateway)  # type: ignore[arg-type]

    def add(self, client: FakeClient, channel: str = "open:a") -> None:
        self.joins.add(client, Join(1, channel, Subscription()))  # type: ignore[arg-type]


def be_busy(seconds: float) -> None:
    time.sleep(seconds)


async def test_joins_are_answered_in_turns_once_their_channel_is_ready() -> None:
    """All of one channel, also those that come while the first ones are answered; another channel waits on."""
    stage = Stage()
    clients = [FakeClient() for _ in range(2 * TURN_JOINS)]
    for client in clients:
        stage.add(client)
    other, late = FakeClient(), FakeClient()
    stage.add(other, "open:b")
    clients[0].then = lambda: stage.add(late)
    stage.hub.ready["open:a"]()
    assert clients[0].joins
    assert not clients[-1].joins
    await wait_until_async(lambda: late.runs == 1)
    assert all(len(client.joins) == client.runs == 1 for client in [*clients, late])
    assert not other.runs
    assert [hold.is_released for hold in stage.hub.holds] == [True, False]


async def test_joins_of_a_channel_that_is_not_ready_in_time_all_fail() -> None:
    """Each client is told, with an error after which it tries again; the next join begins anew."""
    stage = Stage(join_timeout_s=0.05)
    clients = [FakeClient(), FakeClient()]
    for client in clients:
        stage.add(client)
    await wait_until_async(lambda: clients[1].runs == 1)
    assert [[failure.temporary for failure in client.failures] for client in clients] == [[True], [True]]
    assert stage.hub.holds[0].is_released
    again = FakeClient()
    stage.add(again)
    stage.hub.ready["open:a"]()
    assert again.joins


async def test_joins_look_for_an_answer_before_they_fail() -> None:
    """A loop that was busy for longer than the deadline reads from its sockets first."""
    stage = Stage(join_timeout_s=0.05)
    client = FakeClient()
    stage.add(client)
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()

    def read() -> None:
        loop.remove_reader(ours)
        stage.hub.ready["open:a"]()

    with ours, theirs:
        loop.add_reader(ours, read)
        theirs.send(b"Redis has answered")
        be_busy(0.2)
        await wait_until_async(lambda: client.runs == 1)
    assert client.joins
    assert not client.failures


async def test_joins_wait_on_while_redis_answers_others_but_not_for_ever() -> None:
    """It is our queue that is long, not Redis that is away."""
    stage = Stage(join_timeout_s=0.05)
    client = FakeClient()
    stage.add(client)
    began = time.monotonic()
    while time.monotonic() < began + 2 * 0.05:
        stage.hub.progress += 1
        await asyncio.sleep(0)
    assert not client.runs

    def answer() -> int:
        stage.hub.progress += 1
        return client.runs

    await wait_until_async(answer)
    assert client.failures
    assert time.monotonic() - began > PATIENCE * 0.05


async def test_joins_of_a_channel_that_turns_out_to_be_ready_are_answered_at_once() -> None:
    """Nothing is held for them afterwards."""
    stage = Stage()
    stage.hub.is_at_once = True
    client = FakeClient()
    stage.add(client)
    assert client.joins
    assert stage.hub.holds[0].is_released


async def test_joins_leave_out_who_is_gone() -> None:
    """What was under way for a closed connection is for nobody."""
    stage = Stage()
    gone, there = FakeClient(), FakeClient()
    stage.add(gone)
    stage.add(there)
    gone.is_gone = True
    stage.hub.ready["open:a"]()
    assert not gone.joins
    assert there.joins


async def test_joins_answer_everybody_though_one_of_them_fails() -> None:
    """A defect is logged, its client gets an error, and the others join."""
    stage = Stage()
    broken, there = FakeClient(is_broken=True), FakeClient()
    stage.add(broken)
    stage.add(there)
    with structlog.testing.capture_logs() as logs:
        stage.hub.ready["open:a"]()
    assert len(broken.failures) == 1
    assert there.joins
    assert [line["event"] for line in logs] == ["subscribe.failed"]
