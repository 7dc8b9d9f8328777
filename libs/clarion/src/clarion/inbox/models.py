"""The inbox tables: a notification is written once, its way to each recipient is a delivery.

Source: ADR-0005.
"""

from __future__ import annotations

import json
from typing import Final

from django.db import models
from django.utils import timezone

from clarion.ids import uuid7
from clarion.names import USER_ID_MAX_CHARS
from clarion.outbox.models import MessageState, OutboxMessage
from clarion.values import JSON

TITLE_MAX_CHARS: Final = 200
BODY_MAX_CHARS: Final = 10_000


class Notification(models.Model):
    """What is told. ``data`` is JSON text; "" when there is none."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    title = models.CharField(max_length=TITLE_MAX_CHARS)
    body = models.TextField(blank=True)
    # Text, because jsonb refuses \u0000 and forgets the order of keys.
    data = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "clarion_inbox_notification"
        indexes = [models.Index(fields=["-created_at"], name="clarion_inbox_newest")]

    def __str__(self) -> str:
        return self.title

    @property
    def data_value(self) -> JSON:
        """The data as a JSON value; None when there is none."""
        return json.loads(self.data) if self.data else None


class Delivery(models.Model):
    """One recipient of a notification. ``user_id`` is the caller's own id, not necessarily a Django user's."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="deliveries")
    user_id = models.CharField(max_length=USER_ID_MAX_CHARS)
    state = models.CharField(max_length=8, choices=MessageState.choices, default=MessageState.PENDING)
    # Null once the clean-up of sent messages has taken the row: the delivery itself stays.
    outbox = models.OneToOneField(
        OutboxMessage, on_delete=models.SET_NULL, null=True, blank=True, related_name="delivery"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "clarion_inbox_delivery"
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["notification", "user_id"], name="clarion_inbox_delivery_once"),
        ]
        indexes = [models.Index(fields=["user_id", "-created_at"], name="clarion_inbox_of_user")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.notification_id}"
