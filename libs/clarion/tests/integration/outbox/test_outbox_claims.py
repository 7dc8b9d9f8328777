"""clarion.outbox.claims on real databases: who gets which rows, when, and at what cost."""

from __future__ import annotations

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from clarion.outbox import claims
from clarion.outbox.claims import Claim, Failure, messages_claim, messages_settle
from clarion.outbox.models import MessageState, OutboxMessage
from clarion.outbox.services import outbox_add
from tests.support.databases import Database
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("database")


def ids(claim: Claim) -> list[UUID]:
    return [message.id for message in claim.messages]


def row(message: OutboxMessage) -> OutboxMessage:
    return OutboxMessage.objects.get(id=message.id)


def test_claim_gives_a_channels_oldest_row_only() -> None:
    """What is behind the oldest unsent row waits until that is sent."""
    a1, b1, a2 = outbox_add([("chat:a", 1), ("chat:b", 2), ("chat:a", 3)])
    assert ids(messages_claim("w")) == [a1.id, b1.id]
    assert ids(messages_claim("w")) == []
    messages_settle("w", sent=[a1.id])
    claim = messages_claim("other")
    assert [(message.id, message.channel, message.data) for message in claim.messages] == [(a2.id, "chat:a", "3")]


def test_claim_gives_a_run_from_the_oldest_row_on() -> None:
    """With ``per_channel`` one worker takes several rows of a channel; nobody else gets any of it meanwhile."""
    rows = outbox_add([("chat:a", number) for number in range(5)])
    assert ids(messages_claim("w", per_channel=3)) == [row.id for row in rows[:3]]
    assert ids(messages_claim("other", per_channel=3)) == []
    messages_settle("w", sent=[row.id for row in rows[:3]])
    assert ids(messages_claim("other", per_channel=3)) == [row.id for row in rows[3:]]


def test_claim_shares_its_limit_among_channels() -> None:
    """Never more rows than ``limit``; few channels get long runs, many get short ones."""
    outbox_add([(f"chat:{number % 4}", number) for number in range(40)])
    claim = messages_claim("w", limit=10, per_channel=10)
    assert len(claim.messages) == 8
    assert sorted({message.channel for message in claim.messages}) == ["chat:0", "chat:1", "chat:2", "chat:3"]


def test_claim_goes_round_all_channels() -> None:
    """Each claim goes on after the one before; the cursor is "" when all have had their turn."""
    outbox_add([(f"chat:{number}", number) for number in range(7)])
    first = messages_claim("w", limit=3)
    second = messages_claim("w", limit=3, after=first.cursor)
    third = messages_claim("w", limit=3, after=second.cursor)
    assert [len(claim.messages) for claim in (first, second, third)] == [3, 3, 1]
    assert (first.cursor, second.cursor, third.cursor) == ("chat:2", "chat:5", "")


def test_claim_looks_at_a_bounded_number_of_channels() -> None:
    """Channels that are leased cost a visit; the cursor goes on all the same."""
    outbox_add([(f"chat:{number}", number) for number in range(6)])
    messages_claim("w", limit=4)
    empty = messages_claim("other", visits=3)
    assert (ids(empty), empty.cursor) == ([], "chat:2")
    rest = messages_claim("other", visits=3, after=empty.cursor)
    assert ([message.channel for message in rest.messages], rest.cursor) == (["chat:4", "chat:5"], "chat:5")
    assert messages_claim("other", visits=3, after=rest.cursor).cursor == ""


def test_claim_takes_over_when_a_lease_has_ended() -> None:
    """A killed worker's rows are claimed again, and not before."""
    [message] = outbox_add([("chat:a", 1)])
    assert ids(messages_claim("killed", lease_s=30)) == [message.id]
    assert ids(messages_claim("heir")) == []
    OutboxMessage.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert ids(messages_claim("heir")) == [message.id]
    assert row(message).claimed_by == "heir"


def test_lease_ends_by_the_databases_clock() -> None:
    """The lease really runs out by itself."""
    [message] = outbox_add([("chat:a", 1)])
    messages_claim("killed", lease_s=0.2)
    wait_until(lambda: ids(messages_claim("heir", lease_s=60)) == [message.id], what="the heir's claim")
    assert row(message).claimed_by == "heir"


def test_dead_rows_do_not_block_their_channel() -> None:
    """The row behind a dead one is the channel's oldest unsent."""
    bad, good = outbox_add([("chat:a", 1), ("chat:a", 2)])
    messages_claim("w")
    messages_settle("w", failed=[Failure(bad.id, "bad", None)])
    assert (row(bad).state, row(bad).attempts, row(bad).last_error) == (MessageState.DEAD, 1, "bad")
    assert ids(messages_claim("w")) == [good.id]


def test_failed_rows_wait_and_hold_their_channel_back() -> None:
    """Order before speed: nothing overtakes a row that is to be tried again. Other channels go on."""
    bad, behind, other = outbox_add([("chat:a", 1), ("chat:a", 2), ("chat:b", 3)])
    messages_claim("w", per_channel=2)
    messages_settle("w", failed=[Failure(bad.id, "x" * 9999, 60)], released=[behind.id, other.id])
    assert (row(bad).attempts, len(row(bad).last_error)) == (1, claims.ERROR_MAX_CHARS)
    assert ids(messages_claim("w", per_channel=2)) == [other.id]
    OutboxMessage.objects.filter(id=bad.id).update(due_at=timezone.now() - timedelta(seconds=1))
    claim = messages_claim("w", per_channel=2)
    assert [(message.id, message.attempts) for message in claim.messages] == [(bad.id, 1), (behind.id, 0)]


def test_released_rows_are_as_if_never_claimed() -> None:
    """No attempt is counted: that is what an outage does."""
    [message] = outbox_add([("chat:a", 1)])
    messages_claim("w")
    messages_settle("w", released=[message.id])
    again = row(message)
    assert (again.attempts, again.claimed_by, again.claimed_until, again.due_at) == (0, "", None, None)
    assert ids(messages_claim("other")) == [message.id]


def test_settle_believes_sent_but_guards_another_ones_lease() -> None:
    """After its lease a worker may still say "sent"; it may neither fail nor release what is another's by now."""
    sent, failed, released = outbox_add([("chat:a", 1), ("chat:b", 2), ("chat:c", 3)])
    messages_claim("late")
    OutboxMessage.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    messages_claim("heir")
    messages_settle("late", sent=[sent.id], failed=[Failure(failed.id, "x", None)], released=[released.id])
    assert (row(sent).state, row(sent).claimed_by) == (MessageState.SENT, "")
    assert (row(failed).state, row(failed).attempts, row(failed).claimed_by) == (MessageState.PENDING, 0, "heir")
    assert row(released).claimed_by == "heir"
    messages_settle("heir", sent=[sent.id], failed=[Failure(sent.id, "x", None)])
    assert (row(sent).state, row(sent).attempts) == (MessageState.SENT, 0)


def test_settle_is_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash while settling leaves all rows as they were."""
    first, second = outbox_add([("chat:a", 1), ("chat:b", 2)])
    messages_claim("w")

    def crash(worker: str, failure: Failure) -> bool:
        raise LookupError

    monkeypatch.setattr(claims, "_failure_settle", crash)
    with pytest.raises(LookupError):
        messages_settle("w", sent=[first.id], failed=[Failure(second.id, "x", None)])
    assert row(first).state == MessageState.PENDING


def test_uncommitted_rows_cannot_be_claimed() -> None:
    """A claim sees what is committed, and does not wait for what is not."""
    claimed: list[Claim] = []

    def claim() -> None:
        claimed.append(messages_claim("w"))
        connection.close()

    with transaction.atomic():
        outbox_add([("chat:a", 1)])
        thread = threading.Thread(target=claim)
        thread.start()
        thread.join(30)
    assert [ids(claim) for claim in claimed] == [[]]


def test_workers_at_once_never_share_a_row() -> None:
    """Four workers claim and settle as fast as they can: each row is one worker's, each channel in order."""
    outbox_add([(f"chat:{number % 30}", number) for number in range(900)])
    done: list[tuple[str, int]] = []
    lock = threading.Lock()

    def work(name: str) -> None:
        cursor = ""
        deadline = time.monotonic() + 60
        while OutboxMessage.objects.filter(state=MessageState.PENDING).exists() and time.monotonic() < deadline:
            claim = messages_claim(name, limit=20, per_channel=3, after=cursor)
            cursor = claim.cursor
            with lock:
                done.extend((message.channel, message.sequence) for message in claim.messages)
            messages_settle(name, sent=ids(claim))
        connection.close()

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work, f"w{number}") for number in range(4)]:
            future.result(90)
    assert len(done) == len(set(done)) == 900
    for channel in {channel for channel, _ in done}:
        numbers = [number for name, number in done if name == channel]
        assert numbers == sorted(numbers)


@pytest.fixture(params=[(20_000, 1), (2_000, 10), (20, 1_000), (1, 20_000)], ids=lambda shape: f"{shape[0]}x{shape[1]}")
def backlog(request: pytest.FixtureRequest, database: Database) -> QuerySet[OutboxMessage]:
    """20,000 pending rows: channels times rows of each."""
    channels, rows = request.param
    OutboxMessage.objects.bulk_create(
        [
            OutboxMessage(sequence=1 + channel * rows + place, channel=f"chat:{channel}", data='{"text": "hello"}')
            for channel in range(channels)
            for place in range(rows)
        ],
        batch_size=2000,
    )
    return OutboxMessage.objects.filter(state=MessageState.PENDING)


def test_claim_is_fast_with_a_long_backlog(backlog: QuerySet[OutboxMessage]) -> None:
    """100 rows in well under 50 ms, whatever the backlog's shape; measured 1 to 8 ms."""
    cursor, times_s = "", []
    for _ in range(20):
        began_s = time.perf_counter()
        claim = messages_claim("w", limit=100, per_channel=100, after=cursor)
        times_s.append(time.perf_counter() - began_s)
        cursor = claim.cursor
        assert len(claim.messages) == 100
        messages_settle("w", sent=ids(claim))
    # The median, because other tests share the processors.
    assert statistics.median(times_s) < 0.05


def test_claim_reads_no_table_from_end_to_end(backlog: QuerySet[OutboxMessage]) -> None:
    """Every step of every statement goes by an index (EXPLAIN)."""
    with CaptureQueriesContext(connection) as captured:
        messages_claim("w", limit=100, per_channel=100)
    statements = [query["sql"] for query in captured if "clarion_outbox_message" in query["sql"]]
    assert len(statements) >= 2
    for statement in statements:
        plan = _plan(statement)
        assert "clarion_outbox_pending" in plan
        assert "Seq Scan" not in plan
        assert "SCAN clarion_outbox_message" not in plan
        assert "SCAN m" not in plan


def _plan(statement: str) -> str:
    explain = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute(f"{explain} {statement}")
        return "\n".join(str(line[-1]) for line in cursor.fetchall())
