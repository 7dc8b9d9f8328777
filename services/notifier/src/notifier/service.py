"""The notifier's process: its tasks, its internal port, its start and its end.

Source: README.md; docs/explanation/outbox.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Final, cast

import structlog
import uvloop
from channels.layers import get_channel_layer

from clarion.internal import OK, InternalServer
from clarion.metrics import METRICS
from notifier.backlog import BacklogReader
from notifier.cleaning import clean
from notifier.counts import Counts
from notifier.database import DatabaseThread, DatabaseUnavailable, migrations_missing
from notifier.env import NotifierEnv
from notifier.health import Health, heart, monitor_database, monitor_redis
from notifier.lab_tasks import LabTasks, TaskLayer
from notifier.metrics import metrics_handler
from notifier.redis_check import RedisCheck, RedisUnavailable
from notifier.retries import Backoff
from notifier.sending import Layer, RetryPolicy, Sender
from notifier.wake import Wake, listen, poll_s
from notifier.worker import Worker

log = structlog.stdlib.get_logger(__name__)

EXIT_PORT_TAKEN: Final = 1


class Service:
    """One notifier. Owns every task, thread and connection of the process.

    Args:
        env: the checked environment.
        health: what the internal port shows.
        counts: what it counts.
        asked: the database for the questions of health and metrics.
    """

    def __init__(self, env: NotifierEnv, health: Health, counts: Counts, asked: DatabaseThread) -> None:
        self._env = env
        self._health = health
        self._stopping = asyncio.Event()
        self._redis = RedisCheck(env.redis_urls, env.redis_timeout_s)
        # A thread each: a slow clean-up or a probe must not stand before a claim.
        self._databases = {"worker": DatabaseThread("worker"), "health": asked, "clean": DatabaseThread("clean")}
        self._wake = Wake()
        self._layer = cast("Layer", get_channel_layer())
        self._worker = Worker(
            # The suffix: a restarted notifier of the same name is another one; the old one's leases are not its own.
            f"{env.node}/{secrets.token_hex(4)}",
            database=self._databases["worker"],
            redis=self._redis,
            sender=Sender(self._layer, RetryPolicy(env.notifier_attempts, env.notifier_retry_s)),
            health=health,
            counts=counts,
            wake=self._wake,
            batch=env.notifier_batch,
            lease_s=env.notifier_lease_s,
            poll_s=poll_s(),
        )

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT; return once the batch under way is settled."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [tasks.create_task(helper) for helper in self._helpers()]
                await self._start_wait()
                if not self._stopping.is_set():
                    helpers += [tasks.create_task(helper) for helper in self._database_helpers()]
                    await self._worker.run()
                for task in helpers:
                    task.cancel()
        finally:
            await self._close()

    def _helpers(self) -> list[Coroutine[Any, Any, None]]:
        return [
            heart(self._health),
            monitor_redis(self._health, self._redis),
        ]

    def _database_helpers(self) -> list[Coroutine[Any, Any, None]]:
        """What begins once the database is there and migrated."""
        helpers = [
            monitor_database(self._health, self._databases["health"]),
            listen(self._wake),
            clean(self._databases["clean"], timedelta(days=self._env.outbox_keep_days)),
        ]
        return [*helpers, self._lab_tasks().run()] if self._env.lab_enabled else helpers

    def _lab_tasks(self) -> LabTasks:
        return LabTasks(
            cast("TaskLayer", self._layer),
            redis_url=self._env.redis_urls[0],
            prefix=self._env.layer_prefix,
            node=self._env.node,
            timeout_s=self._env.redis_timeout_s,
        )

    def _signalled(self, number: signal.Signals) -> None:
        if self._stopping.is_set():
            log.warning("worker.killed", signal=number.name)
            _exit_now(128 + number)
        log.info("worker.stopping", signal=number.name, grace_s=self._env.notifier_grace_s)
        self._stopping.set()
        self._health.set("worker", "stopping")
        self._worker.stop()
        asyncio.get_running_loop().call_later(self._env.notifier_grace_s, self._grace_ended)

    def _grace_ended(self) -> None:
        # Nothing is lost: what was claimed and not settled comes back when its lease ends.
        log.warning("worker.stop_timed_out", grace_s=self._env.notifier_grace_s)
        _exit_now(0)

    async def _start_wait(self) -> None:
        """Wait for the database, its migrations and Redis; say for what, each time that it changes."""
        backoff, said = Backoff(), ""
        while not self._stopping.is_set():
            wanting = await self._wanting()
            if not wanting:
                return
            if wanting != said:
                log.warning("worker.waiting", wants=wanting)
                said = wanting
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff.next_s()):
                    await self._stopping.wait()

    async def _wanting(self) -> str:
        """What is not there yet: "" when nothing is wanting."""
        try:
            missing = await self._databases["worker"].call(migrations_missing)
        except DatabaseUnavailable as exc:
            state = f"unavailable: {exc}"
        else:
            state = f"not migrated: {', '.join(missing)}" if missing else OK
        self._health.set("database", state)
        if state != OK:
            return f"database ({state})"
        try:
            await self._redis.ping()
        except RedisUnavailable as exc:
            return f"redis (unavailable: {exc})"
        return ""

    async def _close(self) -> None:
        for database in self._databases.values():
            await database.close()
        await self._redis.close()
        await self._layer.flush()

    @property
    def is_thread_stuck(self) -> bool:
        """Whether a database call hangs, for which Python would wait at its end."""
        return any(database.is_busy for database in self._databases.values())


def run(env: NotifierEnv) -> int:
    """Run a notifier to its end. Returns the process's exit code."""
    health, counts, asked = Health(), Counts(), DatabaseThread("health")
    routes = {**health.routes(), METRICS: metrics_handler(health, counts, BacklogReader(asked))}
    try:
        internal = InternalServer(env.internal_host, env.internal_port, routes)
    except OSError as exc:
        log.error("internal_port.taken", host=env.internal_host, port=env.internal_port, error=exc.strerror)
        return EXIT_PORT_TAKEN
    internal.start()
    log.info("worker.started", node=env.node)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        is_stuck = runner.run(_serve(env, health, counts, asked))
    internal.stop()
    log.info("worker.stopped")
    if is_stuck:
        _exit_now(0)
    return 0


async def _serve(env: NotifierEnv, health: Health, counts: Counts, asked: DatabaseThread) -> bool:
    service = Service(env, health, counts, asked)
    await service.run()
    return service.is_thread_stuck


def _exit_now(code: int) -> None:
    """End at once, without what Python waits for at its end: threads that a database holds."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
