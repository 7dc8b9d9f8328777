"""`docker kill` of each part, and a start: the smoke test passes within 15 s, and what was promised is kept."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest

from tests.support.container_flow import clients, flow
from tests.support.containers import Deployment, docker
from tests.support.recovering_client import RecoveringClient
from tests.support.waiting import wait_until_async

pytestmark = pytest.mark.timeout(600)

BACK_WITHIN_S: Final = 15


async def assert_nothing_lost(made: list[RecoveringClient], channel: str, accepted: list[int]) -> None:
    """Each client is given all that was accepted, once, in order; what was answered by an error may be there too."""
    wanted = set(accepted)

    def numbers(client: RecoveringClient) -> list[int]:
        return [data["n"] for _, _, data in client.logs[channel].taken]

    await wait_until_async(lambda: all(wanted <= set(numbers(client)) for client in made), 60, what="all has arrived")
    for client in made:
        seen = numbers(client)
        assert seen == sorted(set(seen)), "twice, or out of order"
        assert client.logs[channel].faults == []
        assert client.logs[channel].resets == 0


async def start_and_smoke(running: Deployment, ids: list[str]) -> None:
    """Start containers again: the smoke test has passed within 15 s of it."""
    began = time.monotonic()
    await asyncio.to_thread(docker, "start", *ids)
    await asyncio.to_thread(running.wait_smoke, BACK_WITHIN_S)
    took_s = time.monotonic() - began
    assert took_s <= BACK_WITHIN_S, f"{took_s:.1f} s until the smoke test had passed"


async def test_killed_gateway(running: Deployment) -> None:
    """Its clients come back by the other one, and miss nothing."""
    channel = f"chat:{uuid4().hex}"
    async with clients(running, [channel]) as made:
        with flow(running, channel) as flowing:
            await asyncio.to_thread(flowing.wait_more)
            for one in running.ids("ws-gateway"):
                await asyncio.to_thread(docker, "kill", one)
                await asyncio.to_thread(flowing.wait_more)
                await start_and_smoke(running, [one])
            await asyncio.to_thread(flowing.wait_more)
        await assert_nothing_lost(made, channel, flowing.accepted)


async def test_replaced_gateways(running: Deployment) -> None:
    """The documented way to a new version: new gateways first, then the old ones drain; nobody misses anything."""
    channel = f"chat:{uuid4().hex}"
    old = running.ids("ws-gateway")
    async with clients(running, [channel]) as made:
        with flow(running, channel) as flowing:
            await asyncio.to_thread(flowing.wait_more)
            start = ("--no-deps", "--no-recreate", "--scale", "ws-gateway=4", "ws-gateway")
            await asyncio.to_thread(running.up, *start)
            await asyncio.to_thread(docker, "stop", *old)
            await asyncio.to_thread(docker, "rm", *old)
            await asyncio.to_thread(flowing.wait_more)
        await assert_nothing_lost(made, channel, flowing.accepted)
        assert all(client.connects > 1 for client in made)
    assert len(running.ids("ws-gateway")) == len(old)
    assert not set(running.ids("ws-gateway")) & set(old)


async def test_killed_redis(running: Deployment) -> None:
    """What Redis has on its disk is recovered; publishes meanwhile are refused, not lost."""
    channel = f"chat:{uuid4().hex}"
    async with clients(running, [channel]) as made:
        with flow(running, channel) as flowing:
            await asyncio.to_thread(flowing.wait_more)
        await asyncio.to_thread(running.redis_flush)
        before = list(flowing.accepted)
        ids = await asyncio.to_thread(running.kill, "redis")
        assert not await asyncio.to_thread(running.offer, channel, {"n": 1_000_000})
        await start_and_smoke(running, ids)
        for number in range(1_000_001, 1_000_004):
            assert await asyncio.to_thread(running.offer, channel, {"n": number})
            before.append(number)
        await assert_nothing_lost(made, channel, before)


async def test_killed_postgres(running: Deployment) -> None:
    """What was answered with 202 is in the database after its crash, and is sent."""
    user = uuid4().hex
    async with clients(running, [f"#{user}"], user) as made:
        await asyncio.to_thread(running.compose, "stop", "notifier")
        await asyncio.to_thread(notify, running, user, range(5))
        ids = await asyncio.to_thread(running.kill, "postgres")
        waiting = await asyncio.to_thread(running.ids, "notifier")
        await start_and_smoke(running, [*ids, *waiting])
        await assert_notified(made, user, range(5))


async def test_killed_notifiers(running: Deployment) -> None:
    """Killed while they send: every notification arrives, and none is out of order."""
    user = uuid4().hex
    async with clients(running, [f"#{user}"], user) as made:
        await asyncio.to_thread(notify, running, user, range(10))
        ids = await asyncio.to_thread(running.kill, "notifier")
        await asyncio.to_thread(notify, running, user, range(10, 20))
        await start_and_smoke(running, ids)
        await assert_notified(made, user, range(20), 90)


def notify(running: Deployment, user: str, numbers: range) -> None:
    """Send a user one notification a number; each is accepted."""
    with running.client() as client:
        for number in numbers:
            wanted = {"users": [user], "title": f"no. {number}", "body": ""}
            assert client.post("/api/v1/notifications", json=wanted).status_code == httpx.codes.ACCEPTED


async def assert_notified(made: list[RecoveringClient], user: str, numbers: range, deadline_s: float = 60) -> None:
    """Each client is told of all, at least once, in order."""
    wanted = [f"no. {number}" for number in numbers]

    def titles(client: RecoveringClient) -> list[str]:
        seen = [title_of(data) for _, _, data in client.logs[f"#{user}"].taken]
        return list(dict.fromkeys(title for title in seen if title))

    await wait_until_async(
        lambda: all(set(wanted) <= set(titles(client)) for client in made), deadline_s, what="all notifications came"
    )
    for client in made:
        assert titles(client) == wanted
        assert client.logs[f"#{user}"].faults == []


def title_of(data: Any) -> str:
    """The title in an event of a notification, wherever it stands."""
    if isinstance(data, dict):
        return str(data.get("title") or next(filter(None, map(title_of, data.values())), ""))
    return ""
