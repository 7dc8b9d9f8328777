"""The Django app ``clarion.outbox``."""

from __future__ import annotations

from django.apps import AppConfig


class OutboxConfig(AppConfig):
    """Its label carries our name, because ``outbox`` alone may be a user's own app."""

    name = "clarion.outbox"
    label = "clarion_outbox"
    verbose_name = "Clarion outbox"
    default_auto_field = "django.db.models.BigAutoField"
