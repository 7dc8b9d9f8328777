"""The Django app of API keys."""

from __future__ import annotations

from django.apps import AppConfig


class KeysConfig(AppConfig):
    """Table ``keys_apikey``."""

    name = "http_api.keys"
    label = "keys"
    verbose_name = "API keys"
