"""Settings of tests and type checks: every required variable has a value unless the environment gives one."""

from __future__ import annotations

import os

# The one place that writes the environment: pydantic-settings reads it, and a test must start from nothing.
for _name, _value in {
    "CLARION_ENVIRONMENT": "development",
    "CLARION_SECRET_KEY": "dev-secret-key-of-the-tests-0123456789abcdef",
    "CLARION_TOKEN_SECRET": "dev-token-secret-of-the-tests-0123456789abc",
    "DATABASE_URL": "sqlite://:memory:",
    "CLARION_REDIS_URL": "redis://127.0.0.1:1",
    "CLARION_PUBLIC_URL": "http://testserver",
}.items():
    os.environ.setdefault(_name, _value)

from .base import *  # noqa: E402, F403
