"""The Django app ``clarion.inbox``."""

from __future__ import annotations

from django.apps import AppConfig


class InboxConfig(AppConfig):
    """Its label carries our name, because ``inbox`` alone may be a user's own app."""

    name = "clarion.inbox"
    label = "clarion_inbox"
    verbose_name = "Clarion inbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Follow the outbox: a delivery's state changes in the transaction that changes its message's."""
        from clarion.inbox.services import deliveries_settle
        from clarion.outbox.signals import messages_settled

        messages_settled.connect(deliveries_settle, dispatch_uid="clarion.inbox")
