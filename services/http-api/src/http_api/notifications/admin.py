"""Notifications, their deliveries and the outbox in the Django admin: to be read, and dead letters to be sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from clarion.inbox.models import Delivery, Notification
from clarion.outbox.models import OutboxMessage
from clarion.outbox.services import messages_requeue

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Any]
else:
    _Admin = admin.ModelAdmin


class ReadOnly:
    """Nobody adds, changes or deletes: services write these rows."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody may."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody may."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Nobody may."""
        return False


@admin.register(Notification)
class NotificationAdmin(ReadOnly, _Admin):
    """What was told. Its deliveries, up to a thousand, are a list of their own."""

    list_display = ("title", "id", "created_at")
    search_fields = ("title", "=id")
    ordering = ("-created_at",)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly, _Admin):
    """Who was told, and whether it has left."""

    list_display = ("user_id", "notification", "state", "created_at", "sent_at")
    list_filter = ("state",)
    list_select_related = ("notification",)
    search_fields = ("=user_id", "=notification__id")
    ordering = ("-created_at",)
    show_full_result_count = False  # the table grows for years


@admin.register(OutboxMessage)
class OutboxMessageAdmin(ReadOnly, _Admin):
    """What waits to be sent, was sent, or could not be."""

    list_display = ("id", "channel", "state", "attempts", "due_at", "created_at", "sent_at", "last_error")
    list_filter = ("state",)
    search_fields = ("=channel", "=id")
    ordering = ("-sequence",)
    show_full_result_count = False
    actions = ("requeue",)

    def has_requeue_permission(self, request: HttpRequest) -> bool:
        """Who might change a row if rows could be changed."""
        return bool(request.user.has_perm("clarion_outbox.change_outboxmessage"))

    @admin.action(description="Send dead messages again", permissions=["requeue"])
    def requeue(self, request: HttpRequest, queryset: QuerySet[OutboxMessage]) -> None:
        """Give dead messages new attempts; each joins the end of its channel's queue."""
        count = messages_requeue(queryset.values_list("id", flat=True))
        self.message_user(request, f"Sent again: {count}.", messages.SUCCESS)
