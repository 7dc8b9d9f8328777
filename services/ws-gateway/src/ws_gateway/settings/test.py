"""Settings of the tests: secrets of no value, and servers that the environment may name."""

from __future__ import annotations

import os

# The one place beside the env classes that touches os.environ: it plays the deployment's part.
for _name, _value in {
    "CLARION_ENVIRONMENT": "development",
    "CLARION_SECRET_KEY": "dev-" + "s" * 40,
    "CLARION_TOKEN_SECRET": "dev-" + "t" * 40,
    "DATABASE_URL": "sqlite://:memory:",
    "CLARION_REDIS_URL": "redis://127.0.0.1:1",
    "CLARION_PUBLIC_URL": "http://testserver",
}.items():
    os.environ.setdefault(_name, _value)

from ws_gateway.settings.base import *  # noqa: E402, F403
