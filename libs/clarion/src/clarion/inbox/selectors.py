"""Reads of the inbox."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Count, QuerySet

from clarion.inbox.models import Delivery, Notification


def notification_get(notification_id: UUID) -> Notification | None:
    """One notification, or None."""
    return Notification.objects.filter(id=notification_id).first()


def deliveries_of_user(user_id: str) -> QuerySet[Delivery]:
    """A user's deliveries with their notifications, the newest first. Slice it."""
    return Delivery.objects.filter(user_id=user_id).select_related("notification").order_by("-created_at", "-id")


def delivery_counts(notification: Notification) -> dict[str, int]:
    """How many of a notification's deliveries are in each state; a state without any is left out."""
    counts = notification.deliveries.values("state").annotate(count=Count("id")).order_by("state")
    return {row["state"]: row["count"] for row in counts}
