"""Claims: how notifiers share the outbox, keep each channel's order and inherit from the dead.

A claim walks from channel to channel along the index of unsent rows and looks at each channel's oldest row only: its
cost grows with the channels that it visits, never with the rows that wait. It goes on where the last one stopped, so
every channel has its turn.

Source: docs/explanation/outbox.md, "Claims"; PostgreSQL wiki, "Loose indexscan".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from clarion.outbox.models import MessageState, OutboxMessage
from clarion.outbox.signals import messages_settled

VISITS_MAX: Final = 1000
"""Channels that one claim looks at, at most: thousands of channels in back-off make no claim slow."""

ERROR_MAX_CHARS: Final = 500

# The oldest unsent row carries the lease of its whole channel: who holds it alone sends there. Only such a row is ever
# put off (due_at) as well.
_FREE: Final = """(head.due_at IS NULL OR head.due_at <= {now})
      AND (head.claimed_until IS NULL OR head.claimed_until <= {now})"""

# 'pending' is written out: a partial index serves only a condition that the planner can see.
_WALK: Final = """
WITH RECURSIVE walk(channel, visited) AS (
    SELECT (SELECT min(channel) FROM clarion_outbox_message WHERE state = 'pending' AND channel > %(after)s), 1
    UNION ALL
    SELECT (SELECT min(m.channel) FROM clarion_outbox_message m
            WHERE m.state = 'pending' AND m.channel > walk.channel), visited + 1
    FROM walk WHERE walk.channel IS NOT NULL AND visited < %(visits)s
)
SELECT walk.visited, walk.channel, head.id
FROM walk {join_oldest}
WHERE {free}
UNION ALL
SELECT visited, channel, NULL FROM walk WHERE visited = %(visits)s AND channel IS NOT NULL
LIMIT %(limit)s
"""

_OLDEST: Final = """FROM clarion_outbox_message m
    WHERE m.state = 'pending' AND m.channel = walk.channel ORDER BY m.sequence LIMIT 1"""

# LATERAL, because joined by id PostgreSQL may think it cheaper to read the whole table. SQLite has none and goes by id.
_JOIN_POSTGRESQL: Final = f"CROSS JOIN LATERAL (SELECT m.id, m.due_at, m.claimed_until {_OLDEST}) head"
_JOIN_SQLITE: Final = f"JOIN clarion_outbox_message head ON head.id = (SELECT m.id {_OLDEST})"

# Locked rows are another notifier's. Everything is asked again here: the walk's answer may be old by now.
_CLAIM_POSTGRESQL: Final = """
WITH heads AS (
    SELECT head.channel FROM clarion_outbox_message head
    WHERE head.id = ANY(%(heads)s) AND head.state = 'pending' AND {free}
      AND NOT EXISTS (SELECT FROM clarion_outbox_message older WHERE older.state = 'pending'
                      AND older.channel = head.channel AND older.sequence < head.sequence)
    FOR UPDATE SKIP LOCKED
), runs AS (
    SELECT run.id FROM heads CROSS JOIN LATERAL (
        SELECT m.id FROM clarion_outbox_message m
        WHERE m.state = 'pending' AND m.channel = heads.channel ORDER BY m.sequence LIMIT %(run)s) run
)
UPDATE clarion_outbox_message m SET claimed_by = %(worker)s, claimed_until = {until}
WHERE m.id = ANY(ARRAY(SELECT runs.id FROM runs)) AND m.state = 'pending'
RETURNING m.id, m.sequence, m.channel, m.data, m.attempts, m.tags, m.idempotency_key
"""

_CLAIM_SQLITE: Final = """
UPDATE clarion_outbox_message SET claimed_by = %(worker)s, claimed_until = {until}
WHERE id IN (
    SELECT m.id FROM clarion_outbox_message m
    WHERE m.state = 'pending' AND m.channel = (
        SELECT head.channel FROM clarion_outbox_message head
        WHERE head.id = %(head)s AND head.state = 'pending' AND {free}
          AND NOT EXISTS (SELECT 1 FROM clarion_outbox_message older WHERE older.state = 'pending'
                          AND older.channel = head.channel AND older.sequence < head.sequence))
    ORDER BY m.sequence LIMIT %(run)s)
RETURNING id, sequence, channel, data, attempts, tags, idempotency_key
"""


@dataclass(frozen=True, slots=True)
class ClaimedMessage:
    """One leased row. ``data`` and ``tags`` are JSON text as they stand in the table, unchecked."""

    id: UUID
    sequence: int
    channel: str
    data: str
    attempts: int
    tags: str = ""
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim found.

    Attributes:
        messages: in the order in which they are to be sent.
        cursor: the channel after which the next claim goes on; "" when all channels have had their turn.
    """

    messages: tuple[ClaimedMessage, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A message that could not be sent, for a reason of its own.

    Attributes:
        retry_in_s: when to try again; None: never, it is dead.
    """

    id: UUID
    error: str
    retry_in_s: float | None


def messages_claim(
    worker: str,
    *,
    limit: int = 100,
    per_channel: int = 1,
    lease_s: float = 30.0,
    after: str = "",
    visits: int = VISITS_MAX,
) -> Claim:
    """Lease unsent messages to a worker, until it settles them or ``lease_s`` has passed.

    Only a channel's oldest unsent row can be claimed, and with ``per_channel`` over 1 those right behind it; while its
    lease holds, nobody else gets anything of the channel. Dead rows do not block.

    Args:
        worker: who claims, at most 200 characters; unique among those that run.
        limit: most messages.
        after: the ``cursor`` of the claim before.
        visits: most channels to look at.
    """
    clock = _clock(lease_s)
    heads, cursor = _walk(clock, after=after, limit=limit, visits=visits)
    if not heads:
        return Claim((), cursor)
    run = max(1, min(per_channel, limit // len(heads)))
    take = _take_postgresql if connection.vendor == "postgresql" else _take_sqlite
    with transaction.atomic():
        rows = take(clock, {**clock.values, "worker": worker, "run": run}, heads)
    messages = [ClaimedMessage(UUID(str(row[0])), *row[1:]) for row in rows]
    return Claim(tuple(sorted(messages, key=lambda message: message.sequence)), cursor)


def messages_settle(
    worker: str,
    *,
    sent: Sequence[UUID] = (),
    failed: Sequence[Failure] = (),
    released: Sequence[UUID] = (),
) -> None:
    """Write down in one transaction what became of claimed messages.

    Args:
        sent: they were sent, whoever holds their lease by now.
        failed: counted as an attempt, and tried again later or dead. Only while the lease is ours.
        released: given back untouched, for the next claim. Only while the lease is ours.
    """
    now = timezone.now()
    with transaction.atomic():
        if sent:
            OutboxMessage.objects.filter(id__in=sent, state=MessageState.PENDING).update(
                state=MessageState.SENT, sent_at=now, claimed_by="", claimed_until=None, due_at=None
            )
            messages_settled.send(OutboxMessage, ids=list(sent), state=MessageState.SENT, at=now)
        dead = [failure.id for failure in failed if _failure_settle(worker, failure)]
        if dead:
            messages_settled.send(OutboxMessage, ids=dead, state=MessageState.DEAD, at=now)
        if released:
            _mine(worker, released).update(claimed_by="", claimed_until=None)


def _failure_settle(worker: str, failure: Failure) -> bool:
    """Count the attempt. Returns whether the message died of it."""
    is_dead = failure.retry_in_s is None
    message = _mine(worker, [failure.id]).select_for_update().first()
    if message is None:  # the lease ran out: its new holder has its own try
        return False
    message.attempts += 1
    message.last_error = failure.error.replace("\0", "")[:ERROR_MAX_CHARS]
    message.state = MessageState.DEAD if is_dead else MessageState.PENDING
    message.due_at = None if failure.retry_in_s is None else _database_now() + timedelta(seconds=failure.retry_in_s)
    message.claimed_by, message.claimed_until = "", None
    message.save(update_fields=["attempts", "last_error", "state", "due_at", "claimed_by", "claimed_until"])
    return is_dead


def _mine(worker: str, ids: Iterable[UUID]) -> QuerySet[OutboxMessage]:
    return OutboxMessage.objects.filter(id__in=list(ids), claimed_by=worker, state=MessageState.PENDING)


@dataclass(frozen=True, slots=True)
class _Clock:
    """SQL of "now" and of a lease's end. All notifiers of a PostgreSQL server read its clock, not their own."""

    now: str
    until: str
    values: dict[str, Any]

    def fill(self, statement: str) -> str:
        """The statement with its conditions on time; no value of a caller ever comes in this way."""
        join = _JOIN_POSTGRESQL if connection.vendor == "postgresql" else _JOIN_SQLITE
        return statement.format(free=_FREE.format(now=self.now), until=self.until, join_oldest=join)


def _clock(lease_s: float) -> _Clock:
    if connection.vendor == "postgresql":
        now = "statement_timestamp()"
        return _Clock(now, f"{now} + %(lease_s)s * interval '1 second'", {"lease_s": lease_s})
    at = timezone.now()
    adapt = connection.ops.adapt_datetimefield_value
    return _Clock("%(now)s", "%(until)s", {"now": adapt(at), "until": adapt(at + timedelta(seconds=lease_s))})


def _database_now() -> datetime:
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def _walk(clock: _Clock, *, after: str, limit: int, visits: int) -> tuple[list[Any], str]:
    """Find free oldest rows. Returns their ids as the database writes them, and the cursor."""
    values = {**clock.values, "after": after, "limit": limit, "visits": visits}
    with connection.cursor() as cursor:
        cursor.execute(clock.fill(_WALK), values)
        found = cursor.fetchall()
    heads = [head for _, _, head in found if head is not None]
    is_cut_short = len(found) == limit or len(heads) < len(found)
    return heads, max(found, key=lambda row: row[0])[1] if is_cut_short else ""


def _take_postgresql(clock: _Clock, values: dict[str, Any], heads: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(clock.fill(_CLAIM_POSTGRESQL), {**values, "heads": heads})
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _take_sqlite(clock: _Clock, values: dict[str, Any], heads: list[Any]) -> list[tuple[Any, ...]]:
    statement = clock.fill(_CLAIM_SQLITE)
    rows: list[tuple[Any, ...]] = []
    with connection.cursor() as cursor:
        for head in heads:
            cursor.execute(statement, {**values, "head": head})
            rows += cursor.fetchall()
    return rows
