"""Commit order: a transaction that takes a channel keeps it until it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg
import pytest
from django.db import connection, transaction

from clarion.outbox.models import OutboxMessage
from clarion.outbox.order import SINGLE_LOCKS_MAX, channel_lock_key
from clarion.outbox.services import outbox_add
from clarion.publishing import publish
from tests.support.databases import Database
from tests.support.waiting import wait_until

Spawn = Callable[[Callable[[], None]], "Future[None]"]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Run a function in a thread, with a database connection of its own."""
    with ThreadPoolExecutor(8) as pool:

        def run(function: Callable[[], None]) -> None:
            try:
                function()
            finally:
                connection.close()

        yield lambda function: pool.submit(run, function)


def is_waiting_for_a_lock(database: Database) -> bool:
    with psycopg.connect(database.url, autocommit=True) as observer:
        row = observer.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchone()
    return row is not None and row[0] > 0


def test_channel_lock_key_is_stable() -> None:
    """Two releases that run side by side must lock the same number."""
    assert channel_lock_key("chat:room-1") == -1_856_292_867_552_199_004
    assert -(2**63) <= channel_lock_key("#1") < 2**63


@pytest.mark.parametrize("first_channels", [1, SINGLE_LOCKS_MAX + 1], ids=["one", "many"])
def test_second_writer_of_a_channel_waits_for_the_first_ones_commit(
    postgresql_database: Database, spawn: Spawn, first_channels: int
) -> None:
    """Whoever commits later has the higher number, also against a call that locks by the bucket."""
    with transaction.atomic():
        outbox_add([(f"chat:{number}", "first") for number in range(first_channels)])
        second = spawn(lambda: outbox_add([("chat:0", "second")]) and None)
        wait_until(lambda: is_waiting_for_a_lock(postgresql_database), what="the second writer waits")
        assert not second.done()
    second.result(30)
    rows = OutboxMessage.objects.filter(channel="chat:0").order_by("sequence").values_list("data", flat=True)
    assert list(rows) == ['"first"', '"second"']


def test_writers_of_other_channels_do_not_wait(postgresql_database: Database) -> None:
    """The lock is the channel's, not the table's."""
    done = threading.Event()

    def other() -> None:
        publish_atomically("chat:b", 2)
        connection.close()
        done.set()

    with transaction.atomic():
        publish("chat:a", 1)
        thread = threading.Thread(target=other)
        thread.start()
        assert done.wait(30), "the writer of another channel waited"
    thread.join()


def publish_atomically(channel: str, data: object) -> None:
    with transaction.atomic():
        publish(channel, data)


def test_sequence_is_the_commit_order_per_channel(database: Database, spawn: Spawn) -> None:
    """Writers at once: at every moment, what is committed of a channel has lower numbers than what comes later."""
    stop = threading.Event()
    overtakings: list[int] = []

    def watch() -> None:
        seen: set[int] = set()
        while not stop.is_set():
            now = set(OutboxMessage.objects.values_list("sequence", flat=True))
            new = now - seen
            overtakings.extend(number for number in new if seen and number < max(seen))
            seen = now

    def write() -> None:
        for number in range(40):
            publish_atomically("chat:hot", number)

    watcher = spawn(watch)
    writers = [spawn(write) for _ in range(4)]
    for writer in writers:
        writer.result(60)
    stop.set()
    watcher.result(30)
    assert OutboxMessage.objects.count() == 160
    assert overtakings == []


def test_calls_with_the_same_channels_never_deadlock(database: Database, spawn: Spawn) -> None:
    """Locks are taken in sorted order, whatever order the caller named the channels in."""
    names = [f"chat:{number}" for number in range(30)]

    def write(channels: list[str]) -> None:
        for _ in range(20):
            outbox_add([(channel, 1) for channel in channels])

    for future in [spawn(lambda: write(names)), spawn(lambda: write(names[::-1])), spawn(lambda: write(names[7:]))]:
        future.result(60)
    assert OutboxMessage.objects.count() == 20 * (30 + 30 + 23)


def test_many_channels_take_a_bounded_number_of_locks(postgresql_database: Database) -> None:
    """A notification to thousands does not fill the server's lock table."""
    with transaction.atomic():
        outbox_add([(f"#{number}", 1) for number in range(3000)])
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
            assert cursor.fetchone()[0] <= SINGLE_LOCKS_MAX


def test_commit_notifies_the_listeners_and_a_rollback_does_not(postgresql_database: Database) -> None:
    """NOTIFY is part of the transaction."""
    with psycopg.connect(postgresql_database.url, autocommit=True) as listener:
        listener.execute("LISTEN clarion_outbox")
        with pytest.raises(LookupError):
            _publish_and_fail()
        assert list(listener.notifies(timeout=0.3, stop_after=1)) == []
        publish_atomically("chat:x", 1)
        [notification] = listener.notifies(timeout=30, stop_after=1)
    assert notification.channel == "clarion_outbox"


def _publish_and_fail() -> None:
    with transaction.atomic():
        publish("chat:x", 1)
        raise LookupError
