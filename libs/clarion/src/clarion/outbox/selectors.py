"""Reads of the outbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Min, QuerySet

from clarion.outbox.models import MessageState, OutboxMessage


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits to be sent. ``oldest_at`` is None when nothing waits."""

    pending: int
    dead: int
    oldest_at: datetime | None


def backlog_get() -> Backlog:
    """Count what waits and what is dead. It reads the partial indexes: cheap while the backlog is small."""
    pending = OutboxMessage.objects.filter(state=MessageState.PENDING)
    return Backlog(
        pending=pending.count(),
        dead=messages_dead().count(),
        oldest_at=pending.aggregate(oldest=Min("created_at"))["oldest"],
    )


def messages_dead() -> QuerySet[OutboxMessage]:
    """Dead messages, the newest first: what an operator looks through before a requeue."""
    return OutboxMessage.objects.filter(state=MessageState.DEAD).order_by("-sequence")
