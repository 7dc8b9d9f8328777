"""The Django app of notifications."""

from __future__ import annotations

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    """No tables of its own."""

    name = "http_api.notifications"
    label = "notifications"
