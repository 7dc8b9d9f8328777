"""Django settings of the library's own tests, for pytest and mypy. Tests that need a server say so by fixture."""

from __future__ import annotations

from clarion.settings import DEFAULT_AUTO_FIELD as DEFAULT_AUTO_FIELD
from clarion.settings import SHARED_APPS

SECRET_KEY = "only-for-tests-only-for-tests-only-for-tests"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = [*SHARED_APPS, "django.contrib.staticfiles", "clarion.pages"]
CLARION_ORIGINS = ["https://push.example"]
CLARION_LAB = True
STATIC_URL = "/static/"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["clarion.pages.context.pages"]},
    }
]
CHANNEL_LAYERS = {"default": {"BACKEND": "clarion.layers.ClarionChannelLayer", "CONFIG": {"timeout_s": 1.0}}}
USE_TZ = True
