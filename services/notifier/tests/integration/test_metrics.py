"""``/metrics`` of the internal port: what became of the rows, what waits, and a database that does not say."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import psycopg
import pytest
from django.db import transaction
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from clarion.outbox.models import OutboxMessage
from clarion.outbox.services import outbox_add
from notifier.backlog import ANSWER_S
from tests.support.databases import Database, database_migrate
from tests.support.notifier_process import Ear, NotifierProcess, StartNotifier
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

DEADLINE_S = 60.0


def numbers(notifier: NotifierProcess) -> dict[str, float]:
    """One scrape: samples by their name and, behind it, the values of their labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{notifier.port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def settled(notifier: NotifierProcess) -> list[float]:
    """How many rows were sent, put off, dead and given back."""
    found = numbers(notifier)
    return [found[f"clarion_notifier_settled_total {result}"] for result in ("sent", "failed", "dead", "released")]


def test_metrics_say_what_became_of_the_rows(start: StartNotifier, redis_server: RedisServer, ear: Ear) -> None:
    """Counted where it happens; beside it the loop's lag, the process, and whether Redis is there."""
    notifier = start(CLARION_NOTIFIER_ATTEMPTS="2", CLARION_NOTIFIER_RETRY_S="0.1")
    first = numbers(notifier)
    assert settled(notifier) == [0, 0, 0, 0]
    assert first["clarion_notifier_redis_connected"] == first["clarion_notifier_database_connected"] == 1
    assert first["process_resident_memory_bytes"] > 0
    assert [name for name in first if name.startswith("clarion_build_info ") and "notifier" in name.split()]
    with transaction.atomic():
        bad, *_ = outbox_add([("chat:bad", 1), ("chat:bad", 2), *((f"chat:{number}", number) for number in range(5))])
        OutboxMessage.objects.filter(id=bad.id).update(data="{")
    wait_until(lambda: settled(notifier)[:3] == [6, 1, 1], DEADLINE_S, what="all is settled")
    assert numbers(notifier)["clarion_notifier_claimed_total"] == sum(settled(notifier))
    wait_until(lambda: len(ear.heard) == 6, DEADLINE_S)
    wait_until(lambda: numbers(notifier)["clarion_event_loop_lag_seconds_count"] > 0, DEADLINE_S)
    released = settled(notifier)[3]
    redis_server.stop()
    outbox_add([("chat:1", 1)])
    wait_until(lambda: settled(notifier)[3] > released, DEADLINE_S, what="a row is given back")
    wait_until(lambda: numbers(notifier)["clarion_notifier_redis_connected"] == 0, DEADLINE_S)


WAITING = "clarion_outbox_pending"
AGE = "clarion_outbox_oldest_age_seconds"
DEAD = "clarion_outbox_dead"


def test_metrics_say_what_waits(start: StartNotifier, redis_server: RedisServer) -> None:
    """Rows and the age of the oldest, from the table at each scrape: zero, an outage's backlog, zero again."""
    notifier = start(CLARION_NOTIFIER_ATTEMPTS="1")
    assert [numbers(notifier)[name] for name in (WAITING, AGE, DEAD)] == [0, 0, 0]
    redis_server.stop()
    with transaction.atomic():
        first, *_ = outbox_add([("chat:a", 1), ("chat:b", 2), ("chat:b", 3)])
        OutboxMessage.objects.filter(id=first.id).update(created_at=timezone.now() - timedelta(seconds=500))
    before = numbers(notifier)
    assert before[WAITING] == 3
    assert 500 <= before[AGE] < 560
    assert numbers(notifier)[AGE] > before[AGE]
    redis_server.start()
    wait_until(lambda: [numbers(notifier)[name] for name in (WAITING, AGE)] == [0, 0], DEADLINE_S, what="all is sent")
    with transaction.atomic():
        (bad,) = outbox_add([("chat:bad", 1)])
        OutboxMessage.objects.filter(id=bad.id).update(data="{")
    wait_until(lambda: numbers(notifier)[DEAD] == 1, DEADLINE_S, what="the row is dead")
    assert numbers(notifier)[WAITING] == 0


def test_metrics_say_how_long_batches_take(start: StartNotifier, ear: Ear) -> None:
    """One observation for each claim that found rows, none for the many that find nothing."""
    notifier = start(CLARION_NOTIFIER_BATCH="10")
    assert numbers(notifier)["clarion_notifier_batch_seconds_count"] == 0
    outbox_add([("chat:x", number) for number in range(30)])
    wait_until(lambda: settled(notifier)[0] == 30, DEADLINE_S)
    found = numbers(notifier)
    assert found["clarion_notifier_batch_seconds_count"] == 3
    assert 0 < found["clarion_notifier_batch_seconds_sum"] < 30


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_metrics_wait_for_no_database(start: StartNotifier, database: Database) -> None:
    """A table that is locked: scrapes are answered within their time, share one question, and leave the rows out."""
    notifier = start()
    with psycopg.connect(database.url) as holder, psycopg.connect(database.url) as watcher:
        holder.execute("LOCK TABLE clarion_outbox_message IN ACCESS EXCLUSIVE MODE")
        began_s = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            scrapes = [pool.submit(numbers, notifier) for _ in range(8)]
            asked = wait_until(lambda: questions(watcher), DEADLINE_S, what="the question waits for the lock")
            found = [scrape.result() for scrape in scrapes]
        took_s = time.monotonic() - began_s
        wait_until(lambda: not questions(watcher), 2.5 * ANSWER_S, what="PostgreSQL gives the question up")
        while time.monotonic() < began_s + 3 * ANSWER_S:  # nobody has queued another one
            asked |= questions(watcher)
    assert len(asked) == 1
    assert took_s < 3 * ANSWER_S
    for scrape in found:
        assert not {WAITING, AGE, DEAD} & scrape.keys()
        assert scrape["clarion_notifier_database_connected"] == 1
    wait_until(lambda: numbers(notifier).get(WAITING) == 0, DEADLINE_S, what="the table is free again")


def questions(watcher: psycopg.Connection) -> set[datetime]:
    """When the questions for the backlog began that the database is at."""
    watcher.rollback()
    asked = """SELECT query_start FROM pg_stat_activity WHERE state = 'active' AND datname = current_database()
               AND application_name = 'clarion-notifier' AND lower(query) LIKE %s"""
    return {began for (began,) in watcher.execute(asked, ["%min(%created_at%"])}


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that a test may stop."""
    with postgres_server() as server:
        yield server


def test_metrics_outlive_the_database(
    own_postgres: PostgresServer, redis_server: RedisServer, tmp_path: Path, django_db_blocker: object
) -> None:
    """Away, or silent: every other number is there in time, and says so; with PostgreSQL the rows come back."""
    url = own_postgres.database_create("lost")
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        database_migrate(url)
    notifier = NotifierProcess(tmp_path, url, redis_server.url).start()
    try:
        assert numbers(notifier)[WAITING] == 0
        own_postgres.stop()
        wait_until(lambda: WAITING not in numbers(notifier), DEADLINE_S)
        wait_until(lambda: numbers(notifier)["clarion_notifier_database_connected"] == 0, DEADLINE_S)
        assert numbers(notifier)["clarion_notifier_redis_connected"] == 1
        own_postgres.start()
        wait_until(lambda: numbers(notifier).get(WAITING) == 0, DEADLINE_S, what="PostgreSQL is back")
        with hanging(own_postgres):
            began_s = time.monotonic()
            assert WAITING not in numbers(notifier)
            assert time.monotonic() - began_s < 3 * ANSWER_S
        wait_until(lambda: numbers(notifier).get(WAITING) == 0, DEADLINE_S, what="PostgreSQL goes on")
        assert "internal_request.failed" not in notifier.log
        assert notifier.stop() == 0
    finally:
        notifier.stop(hard=True)


@contextmanager
def hanging(server: PostgresServer) -> Iterator[None]:
    """PostgreSQL takes what it is sent, and says nothing."""
    assert server._process
    processes = [each := psutil.Process(server._process.pid), *each.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()
