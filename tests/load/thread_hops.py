"""What it costs to go from the event loop to a thread and back, as Channels does it; nothing but that."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Final

import uvloop
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.conf import settings

CALLS: Final = 3_000

Call = Callable[[], Awaitable[None]]


def hops_measure() -> dict[str, tuple[float, float]]:
    """Return microseconds of each way, by its name: elapsed, and CPU of all threads."""
    if not settings.configured:
        settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}})
    return uvloop.run(_measure())


async def _measure() -> dict[str, tuple[float, float]]:
    from channels.db import aclose_old_connections, database_sync_to_async  # needs the settings

    def answer_from_thread() -> None:
        async_to_sync(_nothing_async)()

    ways: dict[str, Call] = {
        "`await` of a coroutine": _nothing_async,
        "`sync_to_async`": sync_to_async(_nothing),
        "what an async consumer does before each message (`aclose_old_connections`)": aclose_old_connections,
        "what a sync consumer does for each message (`database_sync_to_async`)": database_sync_to_async(_nothing),
        "the same, with one `self.send` (`async_to_sync`) in it": database_sync_to_async(answer_from_thread),
    }
    async with ThreadSensitiveContext():  # one thread for this task, as each connection of the lab has
        return {name: await _timed(call) for name, call in ways.items()}


async def _timed(call: Call) -> tuple[float, float]:
    """Median of five: elapsed and CPU microseconds of one call."""
    parts = [await _timed_once(call) for _ in range(5)]
    return statistics.median(wall for wall, _ in parts), statistics.median(cpu for _, cpu in parts)


async def _timed_once(call: Call) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(CALLS // 5):
        await call()
    scale = 1e6 / (CALLS // 5)
    return (time.perf_counter() - wall) * scale, (time.process_time() - cpu) * scale


def _nothing() -> None:
    """Return."""


async def _nothing_async() -> None:
    await asyncio.sleep(0)
