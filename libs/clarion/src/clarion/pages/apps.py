"""The Django app ``clarion.pages``."""

from __future__ import annotations

from django.apps import AppConfig


class PagesConfig(AppConfig):
    """Templates and static files under ``clarion/``; no tables."""

    name = "clarion.pages"
    label = "clarion_pages"
