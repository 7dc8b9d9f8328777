"""The process: start, readiness, signals, exit codes."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clarion.outbox.models import MessageState, OutboxMessage
from clarion.outbox.services import outbox_add
from tests.support.databases import Database, database_migrate
from tests.support.notifier_process import Ear, NotifierProcess, StartNotifier
from tests.support.ports import free_port
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.redis_server import redis_server as redis_running
from tests.support.waiting import wait_until

DEADLINE_S = 60.0


@pytest.fixture
def redis_stopped() -> Iterator[RedisServer]:
    with redis_running() as server:
        server.stop()
        yield server


@pytest.mark.parametrize("vendor", ["sqlite", "postgresql"])
def test_notifier_waits_at_its_start_and_says_for_what(
    vendor: str,
    postgres_server: PostgresServer,
    redis_stopped: RedisServer,
    tmp_path: Path,
    django_db_blocker: object,
) -> None:
    """First the migrations, then Redis; alive all the time, ready when all is there."""
    url = f"sqlite:///{tmp_path}/new.sqlite3" if vendor == "sqlite" else postgres_server.database_create("unmigrated")
    notifier = NotifierProcess(tmp_path, url, redis_stopped.url).start(wait=False)
    try:
        wait_until(lambda: notifier.events("worker.waiting"), DEADLINE_S)
        assert notifier.events("worker.waiting")[0]["wants"].startswith("database (not migrated: clarion_outbox.0001")
        assert notifier.health("ready")[0] == 503
        assert notifier.check("database").startswith("not migrated")
        assert notifier.health("live")[0] == 200
        with django_db_blocker.unblock():  # type: ignore[attr-defined]
            database_migrate(url)
        # It may have looked between two migrations, and have said so: the last word counts.
        wait_until(
            lambda: notifier.events("worker.waiting")[-1]["wants"].startswith("redis (unavailable"),
            DEADLINE_S,
            what="it waits for Redis",
        )
        redis_stopped.start()
        notifier.ready_wait()
        assert notifier.health("ready")[1] == {
            "status": "ok",
            "checks": {"database": "ok", "redis": "ok", "worker": "ok", "loop": "ok"},
        }
        assert notifier.stop() == 0
    finally:
        notifier.stop(hard=True)


def test_notifier_waits_for_a_database_that_does_not_answer(redis_server: RedisServer, tmp_path: Path) -> None:
    """It does not end: a supervisor would only start it again and again. Nor does waiting hinder a stop."""
    away = f"postgres://clarion@127.0.0.1:{free_port()}/nowhere"
    notifier = NotifierProcess(tmp_path, away, redis_server.url).start(wait=False)
    try:
        wait_until(lambda: notifier.check("database").startswith("unavailable"), DEADLINE_S)
        assert notifier.stop() == 0
        assert "nowhere" not in notifier.log
    finally:
        notifier.stop(hard=True)


def test_sigterm_finishes_the_batch(start: StartNotifier, ear: Ear) -> None:
    """Exit 0 with nothing leased; what was sent says so, the rest waits for the next one: nothing comes twice."""
    notifier = start(CLARION_NOTIFIER_BATCH="20")
    outbox_add([(f"chat:{number % 50}", number) for number in range(3000)])
    wait_until(lambda: len(ear.heard) > 100, DEADLINE_S)
    assert notifier.stop() == 0
    assert not OutboxMessage.objects.filter(state=MessageState.PENDING).exclude(claimed_by="").exists()
    sent = OutboxMessage.objects.filter(state=MessageState.SENT).count()
    wait_until(lambda: len(ear.heard) == sent, DEADLINE_S)
    assert notifier.events("worker.stopping")
    assert notifier.events("worker.stopped")
    start()
    wait_until(lambda: len(ear.heard) == 3000, DEADLINE_S)
    assert sorted(ear.data()) == list(range(3000))


def test_sigterm_while_redis_is_away_ends_at_once(
    start: StartNotifier, redis_server: RedisServer, database: Database
) -> None:
    """An outage is no reason to stay: the rows are given back."""
    notifier = start()
    redis_server.stop()
    outbox_add([("chat:x", 1)])
    wait_until(lambda: notifier.events("redis.lost"), DEADLINE_S)
    assert notifier.stop() == 0
    [row] = OutboxMessage.objects.all()
    assert (row.state, row.claimed_by, row.attempts) == (MessageState.PENDING, "", 0)


def test_second_signal_ends_it_at_once(start: StartNotifier, redis_server: RedisServer) -> None:
    """Whoever asks twice does not want to wait for the batch."""
    notifier = start(CLARION_REDIS_TIMEOUT_S="30", CLARION_NOTIFIER_GRACE_S="60")
    redis_server.pause()
    outbox_add([("chat:x", 1)])
    wait_until(lambda: OutboxMessage.objects.exclude(claimed_by="").exists(), DEADLINE_S)
    notifier.signal(signal.SIGTERM)
    wait_until(lambda: notifier.events("worker.stopping"), DEADLINE_S)
    assert notifier.check("worker") == "stopping"
    notifier.signal(signal.SIGTERM)
    assert notifier.exit_code() == 128 + signal.SIGTERM


def test_stop_ends_within_its_grace(start: StartNotifier, redis_server: RedisServer) -> None:
    """A batch that cannot be finished is left to its lease: exit 0, before a supervisor kills."""
    notifier = start(CLARION_REDIS_TIMEOUT_S="30", CLARION_NOTIFIER_GRACE_S="1")
    redis_server.pause()
    outbox_add([("chat:x", 1)])
    wait_until(lambda: OutboxMessage.objects.exclude(claimed_by="").exists(), DEADLINE_S)
    began_s = time.monotonic()
    notifier.signal(signal.SIGTERM)
    assert notifier.exit_code() == 0
    assert time.monotonic() - began_s < 15
    assert notifier.events("worker.stop_timed_out")


def test_sigint_is_a_stop_too(start: StartNotifier) -> None:
    """Ctrl-C: no traceback, exit 0."""
    notifier = start()
    notifier.signal(signal.SIGINT)
    assert notifier.exit_code() == 0


def test_a_bad_environment_ends_it_with_78(tmp_path: Path) -> None:
    """All problems at once, with their names, and no traceback."""
    notifier = NotifierProcess(tmp_path, "nonsense", "nonsense", CLARION_NOTIFIER_LEASE_S="0").start(wait=False)
    assert notifier.exit_code() == 78
    for name in ("DATABASE_URL", "CLARION_REDIS_URL", "CLARION_NOTIFIER_LEASE_S"):
        assert f"configuration: {name}: " in notifier.log
    assert "Traceback" not in notifier.log


def test_a_taken_internal_port_is_said_plainly(tmp_path: Path, start: StartNotifier) -> None:
    """It does not run without its health checks."""
    first = start()
    second = start(wait=False, CLARION_INTERNAL_PORT=str(first.port))
    assert second.exit_code() == 1
    assert [event["port"] for event in second.events("internal_port.taken")] == [first.port]
