"""The outbox table.

Source: docs/explanation/outbox.md; ADR-0005.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from clarion.ids import uuid7
from clarion.names import CHANNEL_MAX_CHARS
from clarion.publications import IDEMPOTENCY_KEY_MAX_CHARS


class MessageState(models.TextChoices):
    """Where a message is on its way. Only an operator brings it back from ``dead``."""

    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"


class OutboxMessage(models.Model):
    """One publication that waits to be sent, or was.

    Rows of a channel are sent in the order of ``sequence``, which is the order of their commits. A row is leased to
    ``claimed_by`` until ``claimed_until``; when that has passed, whoever held it counts as dead.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    sequence = models.BigIntegerField(unique=True, editable=False)
    channel = models.CharField(max_length=CHANNEL_MAX_CHARS)
    # Text, because jsonb refuses \u0000 and forgets the order of keys.
    data = models.TextField()
    # JSON text, or "". The database knows both defaults: a process of the release before writes rows, too.
    tags = models.TextField(blank=True, default="", db_default="")
    # The caller's own; "" is the row's id.
    idempotency_key = models.CharField(max_length=IDEMPOTENCY_KEY_MAX_CHARS, blank=True, default="", db_default="")
    state = models.CharField(max_length=8, choices=MessageState.choices, default=MessageState.PENDING)
    # Failures of this very row; an outage of Redis counts for none.
    attempts = models.PositiveSmallIntegerField(default=0)
    # Null is "at once", and compared with the database's clock: a web server whose clock is fast delays nothing.
    due_at = models.DateTimeField(null=True, blank=True)
    claimed_by = models.CharField(max_length=200, blank=True, default="")
    claimed_until = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "clarion_outbox_message"
        indexes = [
            # What a claim reads: it holds unsent rows only, so it stays small whatever the table's age.
            models.Index(fields=["channel", "sequence"], condition=Q(state="pending"), name="clarion_outbox_pending"),
            models.Index(fields=["sent_at"], condition=Q(state="sent"), name="clarion_outbox_sent"),
            models.Index(fields=["sequence"], condition=Q(state="dead"), name="clarion_outbox_dead"),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.id}"
