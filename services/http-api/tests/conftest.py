"""Django, set up for the tests of this service, which run in a process of their own."""

from __future__ import annotations

import os

import django

# pytest-django sets Django up only if it hears of the settings before it loads this file.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "http_api.settings.test")
django.setup()
