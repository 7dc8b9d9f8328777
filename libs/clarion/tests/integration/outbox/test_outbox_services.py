"""clarion.outbox.services on real databases: what is written when, and what is not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import msgpack
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

import clarion
import clarion.publisher
from clarion.errors import ChannelLayerUnavailable, DataInvalid, NameInvalid, PublicationTooLarge
from clarion.outbox.claims import Failure, messages_claim, messages_settle
from clarion.outbox.models import MessageState, OutboxMessage
from clarion.outbox.selectors import backlog_get, messages_dead
from clarion.outbox.services import messages_clean, messages_requeue, outbox_add
from tests.support.databases import Database
from tests.support.redis_server import RedisServer


@pytest.fixture
def layer_redis(redis_server: RedisServer, settings: object) -> Iterator[RedisServer]:
    """The process's publisher sends to this Redis."""
    settings.CHANNEL_LAYERS = {"default": {"CONFIG": {"hosts": [redis_server.url], "timeout_s": 0.5}}}  # type: ignore[attr-defined]
    clarion.publisher._publisher = None
    yield redis_server
    clarion.publisher.get_publisher().close()
    clarion.publisher._publisher = None


def test_publish_needs_the_outbox_in_a_transaction_only(shared_redis_url: str) -> None:
    """A project without our apps publishes outside a transaction; inside, the error says what to add."""
    program = f"""
import django
from django.conf import settings
settings.configure(
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}},
    CHANNEL_LAYERS={{"default": {{"BACKEND": "x", "CONFIG": {{"hosts": ["{shared_redis_url}"]}}}}}},
)
django.setup()
import clarion
from django.db import transaction
print(clarion.publish("chat:x", 1).channel)
with transaction.atomic():
    try:
        clarion.publish("chat:x", 1)
    except Exception as exc:
        print(type(exc).__name__, exc)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("chat:x\nImproperlyConfigured")
    assert "add clarion.outbox and clarion.inbox to INSTALLED_APPS" in done.stdout


def test_publish_in_a_transaction_writes_a_row(database: Database) -> None:
    """Inside atomic() nothing is sent: the row holds channel and data, and its id is the publication's."""
    with transaction.atomic():
        published = clarion.publish("chat:x", {"b": 1, "a": [None, "é\0"]})
    [message] = OutboxMessage.objects.all()
    assert (str(message.id), message.channel, message.state) == (published.id, "chat:x", MessageState.PENDING)
    assert list(json.loads(message.data).items()) == [("b", 1), ("a", [None, "é\0"])]


def test_publish_rolled_back_is_never_sent(database: Database) -> None:
    """The row goes with its transaction."""

    def fail() -> None:
        with transaction.atomic():
            clarion.publish("chat:x", 1)
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert not OutboxMessage.objects.exists()


def test_publish_outside_a_transaction_sends_at_once(sqlite_database: Database, layer_redis: RedisServer) -> None:
    """No row is written; Redis has the publication when the call returns."""
    with layer_redis.client() as client:
        ear = client.pubsub()
        ear.subscribe("asgi__group__chat:x")
        ear.get_message(timeout=5)
        published = clarion.publish("chat:x", [1])
        got = ear.get_message(timeout=5)
        ear.close()
    assert msgpack.unpackb(got["data"]) == {"type": "clarion.publication", "data": [1]}
    assert published.channel == "chat:x"
    assert not OutboxMessage.objects.exists()


def test_publish_outside_a_transaction_says_when_redis_is_away(
    sqlite_database: Database, layer_redis: RedisServer
) -> None:
    """At most once: the caller is told, nothing is kept. In a transaction the same Redis is not asked."""
    layer_redis.stop()
    with pytest.raises(ChannelLayerUnavailable):
        clarion.publish("chat:x", 1)
    with transaction.atomic():
        clarion.publish("chat:x", 1)
    assert OutboxMessage.objects.count() == 1


@pytest.mark.parametrize(
    ("channel", "data", "error"),
    [
        ("a b", 1, NameInvalid),
        ("#a,b", 1, NameInvalid),
        ("chat:x", float("inf"), DataInvalid),
        ("chat:x", {1: 2}, DataInvalid),
        ("chat:x", "x" * 65_535, PublicationTooLarge),
    ],
)
def test_outbox_add_refuses_bad_input_and_writes_nothing(
    sqlite_database: Database, channel: str, data: object, error: type[Exception]
) -> None:
    """One bad item of a call refuses all of it."""
    with pytest.raises(error):
        outbox_add([("chat:x", 1), (channel, data)])
    assert not OutboxMessage.objects.exists()


def test_outbox_add_keeps_the_order_of_its_items(database: Database) -> None:
    """Rows get ascending numbers in the items' order, after all that were committed before."""
    outbox_add([])
    outbox_add([("chat:z", 0)])
    outbox_add([(f"chat:{number % 3}", number) for number in range(1200)])
    rows = OutboxMessage.objects.order_by("sequence").values_list("channel", "data")
    assert list(rows)[1:] == [(f"chat:{number % 3}", str(number)) for number in range(1200)]


def test_publication_bytes_follows_the_channel_layers_setting(sqlite_database: Database, settings: object) -> None:
    """The outbox refuses what the publisher would refuse."""
    settings.CHANNEL_LAYERS = {"default": {"CONFIG": {"publication_bytes": 10}}}  # type: ignore[attr-defined]
    with pytest.raises(PublicationTooLarge):
        outbox_add([("chat:x", "x" * 9)])
    assert outbox_add([("chat:x", "x" * 8)])


def test_messages_requeue_sends_the_dead_again_behind_the_living(database: Database) -> None:
    """A requeued message has its attempts back and joins the end of its channel; others are left alone."""
    first, second = outbox_add([("chat:x", 1), ("chat:x", 2)])
    messages_claim("w")
    messages_settle("w", failed=[Failure(first.id, "bad", None)])
    assert [message.id for message in messages_dead()] == [first.id]
    assert backlog_get().dead == 1
    assert messages_requeue([first.id, second.id]) == 1
    assert messages_requeue([first.id]) == 0
    claimed = messages_claim("w", per_channel=10).messages
    assert [(message.id, message.attempts) for message in claimed] == [(second.id, 0), (first.id, 0)]


def test_messages_clean_deletes_old_sent_rows_within_its_bound(database: Database) -> None:
    """Only what was sent, only what is old enough, at most ``limit`` a call, the oldest first."""
    rows = outbox_add([(f"chat:{number}", number) for number in range(8)])
    old = timezone.now() - timedelta(days=8)
    OutboxMessage.objects.filter(id__in=[row.id for row in rows[:5]]).update(state=MessageState.SENT, sent_at=old)
    OutboxMessage.objects.filter(id=rows[5].id).update(state=MessageState.SENT, sent_at=timezone.now())
    OutboxMessage.objects.filter(id=rows[6].id).update(state=MessageState.DEAD, created_at=old)
    OutboxMessage.objects.filter(id=rows[7].id).update(created_at=old)
    assert [messages_clean(timedelta(days=7), limit=3) for _ in range(3)] == [3, 2, 0]
    left = OutboxMessage.objects.order_by("sequence").values_list("id", flat=True)
    assert list(left) == [row.id for row in rows[5:]]


def test_backlog_get_tells_what_waits(database: Database) -> None:
    """Pending rows, dead rows, and since when the oldest waits."""
    assert (backlog_get().pending, backlog_get().oldest_at) == (0, None)
    first, _ = outbox_add([("chat:x", 1), ("chat:y", 2)])
    backlog = backlog_get()
    assert (backlog.pending, backlog.dead, backlog.oldest_at) == (2, 0, first.created_at)


def test_backlog_get_looks_at_so_many_rows_at_most(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage's backlog makes no scrape slow: what is over the bound is not counted."""
    monkeypatch.setattr("clarion.outbox.selectors.BACKLOG_MAX", 3)
    rows = outbox_add([("chat:x", number) for number in range(10)])
    OutboxMessage.objects.filter(id__in=[row.id for row in rows[:5]]).update(state=MessageState.DEAD)
    backlog = backlog_get()
    assert (backlog.pending, backlog.dead, backlog.oldest_at) == (3, 3, rows[5].created_at)


def test_backlog_get_reads_no_row_that_was_sent(postgresql_database: Database) -> None:
    """PostgreSQL reads the indexes of what waits and of what is dead, not a week of sent rows beside them."""
    sent = {"channel": "chat:x", "data": "1", "state": MessageState.SENT, "sent_at": timezone.now()}
    OutboxMessage.objects.bulk_create(OutboxMessage(sequence=-number, **sent) for number in range(5000))
    outbox_add([("chat:x", number) for number in range(20)])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE clarion_outbox_message")
    with CaptureQueriesContext(connection) as captured:
        assert backlog_get().pending == 20
    assert len(captured) == 2
    for query in captured.captured_queries:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {query['sql']}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "Seq Scan" not in plan, plan
        assert "clarion_outbox_pending" in plan or "clarion_outbox_dead" in plan, plan


def test_migrations_are_complete(sqlite_database: Database) -> None:
    """The models say nothing that the migrations do not."""
    from django.core.management import call_command

    call_command("makemigrations", "clarion_outbox", "clarion_inbox", check=True, dry_run=True, verbosity=0)


def test_migrations_go_backwards(database: Database) -> None:
    """An operator can take the apps out again, the PostgreSQL sequence included."""
    from django.core.management import call_command

    call_command("migrate", "clarion_inbox", "zero", verbosity=0)
    call_command("migrate", "clarion_outbox", "zero", verbosity=0)
    assert "clarion_outbox_message" not in connection.introspection.table_names()
    call_command("migrate", verbosity=0)
    outbox_add([("chat:x", 1)])
