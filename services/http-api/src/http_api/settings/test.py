"""Settings of tests and type checks: every required variable has a value unless the environment gives one."""

from __future__ import annotations

import os

# The one place that writes the environment: pydantic-settings reads it, and a test must start from nothing.
_DEFAULTS = {
    "CLARION_ENVIRONMENT": "development",
    "CLARION_SECRET_KEY": "dev-secret-key-of-the-tests-0123456789abcdef",
    "CLARION_TOKEN_SECRET": "dev-token-secret-of-the-tests-0123456789abc",
    "DATABASE_URL": "sqlite://:memory:",
    "CLARION_REDIS_URL": "redis://127.0.0.1:1",
    "CLARION_PUBLIC_URL": "http://testserver",
}
_missing = [name for name in _DEFAULTS if name not in os.environ]
os.environ.update({name: _DEFAULTS[name] for name in _missing})

from .base import *  # noqa: E402, F403

for _name in _missing:  # it has been read; a test's own servers must not find it
    del os.environ[_name]

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast: what is tested is not the hash
