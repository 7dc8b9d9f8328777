"""Django's settings for the tests of this service, which run in a process of their own."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "http_api.settings.test")
