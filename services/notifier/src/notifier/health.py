"""The notifier's health: what the loop knows, for the internal port's threads to read.

A probe never waits for the database or Redis: the monitor asks them, within deadlines, every ``PERIOD_S``.

Source: docs/reference/health.md.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import structlog

from clarion.internal import OK, Handler, health_routes
from clarion.loop_lag import LoopLag
from notifier.database import DatabaseThread, DatabaseUnavailable, database_check
from notifier.redis_check import RedisCheck, RedisUnavailable

log = structlog.stdlib.get_logger(__name__)

PERIOD_S: Final = 1.0

LOOP_STALL_S: Final = 5.0
"""A loop that has not turned for so long is not ready."""

LOOP_DEAD_S: Final = 20.0
"""A loop that has not turned for so long does not live: restart the process."""


class Health:
    """What is well and what is not, by name: "ok" or a reason. Written by the loop, read by any thread.

    Attributes:
        loop_lag: how the loop keeps up, sampled while the heart beats.
    """

    def __init__(self) -> None:
        self._states = {"database": "not asked yet", "redis": "not asked yet", "worker": "starting"}
        self._beat_at = time.monotonic()
        self.loop_lag = LoopLag()

    def set(self, name: str, state: str) -> None:
        """Note a state."""
        self._states[name] = state

    def is_ok(self, name: str) -> bool:
        """Whether that was well when it was last asked."""
        return self._states[name] == OK

    def beat(self) -> None:
        """The loop turns."""
        self._beat_at = time.monotonic()

    def loop_state(self, most_s: float) -> str:
        """Whether the loop turned within the last ``most_s`` seconds."""
        age_s = time.monotonic() - self._beat_at
        return OK if age_s <= most_s else f"stalled for {age_s:.0f} s"

    def routes(self) -> dict[str, Handler]:
        """The internal port's health routes."""
        return health_routes(
            live={"loop": lambda: self.loop_state(LOOP_DEAD_S)},
            ready={
                "database": lambda: self._states["database"],
                "redis": lambda: self._states["redis"],
                "worker": lambda: self._states["worker"],
                "loop": lambda: self.loop_state(LOOP_STALL_S),
            },
        )


async def heart(health: Health) -> None:
    """Beat, for as long as the loop turns."""
    health.loop_lag.start()
    try:
        while True:
            health.beat()
            await asyncio.sleep(PERIOD_S)
    finally:
        health.loop_lag.stop()


async def monitor_database(health: Health, database: DatabaseThread) -> None:
    """Keep the database's state up to date. Its own thread: the worker's may be busy, and that is no fault."""
    while True:
        try:
            await database.call(database_check)
        except DatabaseUnavailable as exc:
            health.set("database", f"unavailable: {exc}")
        else:
            health.set("database", OK)
        await asyncio.sleep(PERIOD_S)


async def monitor_redis(health: Health, redis: RedisCheck) -> None:
    """Keep Redis's state up to date."""
    while True:
        try:
            await redis.ping()
        except RedisUnavailable as exc:
            health.set("redis", f"unavailable: {exc}")
        else:
            health.set("redis", OK)
        await asyncio.sleep(PERIOD_S)
