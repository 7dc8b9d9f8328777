"""The Django settings that services must agree on, made from their environment.

Services share ``auth.User``, database sessions, one secret key and one database; so what one signs in, another knows.

Source: docs/explanation/architecture.md, "Configuration".
"""

from __future__ import annotations

from typing import Any, Final

import dj_database_url

from clarion.env import ServiceEnv

SHARED_APPS: Final = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "clarion.outbox",
    "clarion.inbox",
]
"""Apps whose tables several services use; http-api migrates them."""

SESSION_COOKIE_NAME: Final = "clarion_session"
CSRF_COOKIE_NAME: Final = "clarion_csrf"
DEFAULT_AUTO_FIELD: Final = "django.db.models.BigAutoField"


def databases(env: ServiceEnv) -> dict[str, Any]:
    """Django's ``DATABASES``."""
    return {"default": database_options(env.database_url)}


def database_options(url: str) -> dict[str, Any]:
    """One entry of ``DATABASES``. Connections are kept open: one a thread, checked before a request uses it."""
    database: dict[str, Any] = dict(dj_database_url.parse(url, conn_max_age=None, conn_health_checks=True))
    if database["ENGINE"] == "django.db.backends.sqlite3":
        # Several processes write: readers must not block the writer (WAL), a writer takes its lock at BEGIN
        # (IMMEDIATE; upgrading a read lock later fails at once), and who finds it taken waits.
        database["OPTIONS"] = {
            **database.get("OPTIONS", {}),
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
    elif database["ENGINE"] == "django.db.backends.postgresql":
        # A database that is away must fail a request, not hold its thread: libpq waits for ever by default.
        database["OPTIONS"] = {"connect_timeout": 3, "tcp_user_timeout": 10_000, **database.get("OPTIONS", {})}
    return database


def channel_layers(env: ServiceEnv) -> dict[str, Any]:
    """Django's ``CHANNEL_LAYERS``: our layer on the deployment's Redis."""
    return {
        "default": {
            "BACKEND": "clarion.layers.ClarionChannelLayer",
            "CONFIG": {
                "hosts": env.redis_urls,
                "prefix": env.layer_prefix,
                "config": str(env.config) if env.config else None,
                "timeout_s": env.redis_timeout_s,
                "publication_bytes": env.clarion_config.limits.publication_bytes,
            },
        }
    }
