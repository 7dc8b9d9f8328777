"""Faults: whatever dies, each notification is sent, once while Redis lives, and its row says so."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import DatabaseError, InterfaceError, connection

from clarion.inbox.models import Delivery
from clarion.inbox.services import notification_create
from clarion.outbox.models import MessageState, OutboxMessage
from clarion.outbox.services import outbox_add
from clarion.publisher import Publisher
from tests.support.databases import database_migrate, database_used
from tests.support.notifier_process import Ear, NotifierProcess, OpenEar, StartNotifier
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

DEADLINE_S = 60.0
FAST = {"CLARION_NOTIFIER_LEASE_S": "1"}


def all_sent() -> bool:
    return not OutboxMessage.objects.exclude(state=MessageState.SENT).exists()


def leased() -> int:
    return OutboxMessage.objects.filter(state=MessageState.PENDING).exclude(claimed_by="").count()


def titles(ear: Ear) -> list[str]:
    return [data["notification"]["title"] for data in ear.data()]


def test_killed_between_claim_and_mark_sends_again(start: StartNotifier, ear: Ear, redis_server: RedisServer) -> None:
    """kill -9 while rows are claimed and on their way: another notifier sends what Redis has not got yet."""
    killed = start(CLARION_REDIS_TIMEOUT_S="30", **FAST)
    redis_server.pause()  # what is sent now stays on the way
    for number in range(200):
        notification_create([str(number % 20)], f"{number}", "b")
    wait_until(lambda: leased() > 0, DEADLINE_S, what="rows are claimed")
    killed.stop(hard=True)
    assert killed.exit_code() == -signal.SIGKILL
    assert leased() > 0
    assert OutboxMessage.objects.filter(state=MessageState.SENT).count() == 0
    redis_server.resume()
    start(**FAST)
    wait_until(all_sent, DEADLINE_S)
    wait_until(lambda: set(titles(ear)) == {str(number) for number in range(200)}, DEADLINE_S)
    assert len(titles(ear)) == 200
    assert set(Delivery.objects.values_list("state", flat=True)) == {"sent"}
    assert set(OutboxMessage.objects.values_list("attempts", flat=True)) == {0}


def test_killed_again_and_again_loses_and_repeats_nothing(
    start: StartNotifier, ear: Ear, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Random moments of death, with two notifiers: each user's live events and history are all, in order, once."""
    chance = random.Random(7)
    path = tmp_path / "clarion.toml"
    path.write_text('[channel.personal]\nhistory_size = 50\nhistory_ttl = "10m"\n')
    fast = {**FAST, "CLARION_CONFIG": str(path)}
    start(**fast)
    for part in range(6):
        for number in range(part * 50, part * 50 + 50):
            notification_create([str(number % 10)], f"{number}", "b")
            if number % 50 == 10:
                victim = start(wait=part == 0, **fast)
        wait_until(lambda part=part: len(ear.heard) > part * 30 + chance.randint(0, 20), DEADLINE_S)
        victim.stop(hard=True)
    wait_until(all_sent, DEADLINE_S)
    wait_until(lambda: set(titles(ear)) == {str(number) for number in range(300)}, DEADLINE_S)
    streams = Publisher([redis_server.url], config=path)
    for user in range(10):
        assert [int(data["notification"]["title"]) for data in ear.data(f"#{user}")] == list(range(user, 300, 10))
        kept = streams.read(f"#{user}", since=0)
        assert kept.covers(0)
        assert [item.data for item in kept.publications] == ear.data(f"#{user}")
    streams.close()


def test_redis_stopped_and_started_loses_nothing(
    start: StartNotifier, listen: OpenEar, redis_server: RedisServer
) -> None:
    """The outage pauses the worker: nothing is counted against the rows, and it goes on by itself."""
    notifier = start()
    redis_server.stop()
    for number in range(150):
        notification_create([str(number % 7)], f"{number}", "b")
    wait_until(lambda: notifier.check("redis").startswith("unavailable"), DEADLINE_S)
    wait_until(lambda: notifier.events("redis.lost"), DEADLINE_S)
    wait_until(lambda: leased() == 0, DEADLINE_S, what="the claimed rows are given back")
    assert notifier.health("live")[0] == 200
    # Pub/sub keeps nothing: the ear must be there before the notifier finds out that Redis is.
    notifier.signal(signal.SIGSTOP)
    redis_server.start()
    ear = listen()
    notifier.signal(signal.SIGCONT)
    wait_until(all_sent, DEADLINE_S)
    wait_until(lambda: len(ear.heard) == 150, DEADLINE_S)
    for user in range(7):
        numbers = [int(data["notification"]["title"]) for data in ear.data(f"#{user}")]
        assert numbers == list(range(user, 150, 7))
    assert set(OutboxMessage.objects.values_list("attempts", flat=True)) == {0}
    notifier.ready_wait()
    assert len(notifier.events("redis.lost")) == len(notifier.events("redis.regained")) == 1


def test_redis_that_hangs_is_an_outage(start: StartNotifier, ear: Ear, redis_server: RedisServer) -> None:
    """A black hole is noticed by its timeout; what was on the way is not sent again."""
    notifier = start(CLARION_REDIS_TIMEOUT_S="0.5")
    redis_server.pause()
    outbox_add([("chat:x", number) for number in range(50)])
    wait_until(lambda: notifier.events("redis.lost"), DEADLINE_S)
    wait_until(lambda: notifier.health("ready")[0] == 503, DEADLINE_S)
    redis_server.resume()
    wait_until(all_sent, DEADLINE_S)
    wait_until(lambda: len(ear.data()) >= 50, DEADLINE_S)
    assert ear.data() == list(range(50))
    assert set(OutboxMessage.objects.values_list("attempts", flat=True)) == {0}


@pytest.fixture
def own_postgres(django_db_blocker: object) -> Iterator[PostgresServer]:
    """A PostgreSQL that this test may stop, migrated and in use."""
    with postgres_server() as server, django_db_blocker.unblock():  # type: ignore[attr-defined]
        url = server.database_create("clarion")
        database_migrate(url)
        with database_used(url):
            yield server
            connection.close()


def test_postgresql_restarted_is_no_end(
    own_postgres: PostgresServer, redis_server: RedisServer, ear: Ear, tmp_path: Path
) -> None:
    """Connections are made anew, the listener too; not ready while it is away, and alive."""
    notifier = NotifierProcess(tmp_path, own_postgres.url("clarion"), redis_server.url).start()
    try:
        outbox_add([("chat:x", 1)])
        wait_until(lambda: ear.data() == [1], DEADLINE_S)
        own_postgres.stop()
        wait_until(lambda: notifier.check("database").startswith("unavailable"), DEADLINE_S)
        wait_until(lambda: notifier.events("database.lost"), DEADLINE_S)
        assert notifier.health("live")[0] == 200
        own_postgres.start()
        wait_until(is_database_back, DEADLINE_S)
        outbox_add([("chat:x", 2)])
        wait_until(lambda: ear.data() == [1, 2], DEADLINE_S)
        wait_until(all_sent, DEADLINE_S)
        wait_until(lambda: len(notifier.events("listener.connected")) == 2, DEADLINE_S)
        notifier.ready_wait()
        assert notifier.stop() == 0
    finally:
        notifier.stop(hard=True)


def is_database_back() -> bool:
    try:
        return OutboxMessage.objects.count() >= 0
    except (DatabaseError, InterfaceError):
        connection.close()
        return False


def test_settling_waits_for_a_database_that_went_away(
    own_postgres: PostgresServer, redis_server: RedisServer, ear: Ear, tmp_path: Path
) -> None:
    """Sent while the database dies: the mark is kept and written when it is back, so nothing is sent twice."""
    notifier = NotifierProcess(
        tmp_path, own_postgres.url("clarion"), redis_server.url, CLARION_REDIS_TIMEOUT_S="30"
    ).start()
    try:
        redis_server.pause()
        outbox_add([(f"chat:{number}", number) for number in range(20)])
        wait_until(lambda: leased() == 20, DEADLINE_S)
        own_postgres.stop()
        redis_server.resume()
        wait_until(lambda: len(ear.heard) == 20, DEADLINE_S)
        wait_until(lambda: notifier.events("database.lost"), DEADLINE_S)
        own_postgres.start()
        wait_until(is_database_back, DEADLINE_S)
        wait_until(all_sent, DEADLINE_S)
        assert sorted(ear.data()) == list(range(20))
    finally:
        notifier.stop(hard=True)
