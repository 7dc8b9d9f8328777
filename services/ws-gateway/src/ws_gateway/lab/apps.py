"""The Django app ``lab``."""

from __future__ import annotations

from django.apps import AppConfig


class LabConfig(AppConfig):
    """The page ``/lab/``, its sockets, and the table of the room's messages."""

    name = "ws_gateway.lab"
    label = "lab"
    verbose_name = "Lab"
    default_auto_field = "django.db.models.BigAutoField"
