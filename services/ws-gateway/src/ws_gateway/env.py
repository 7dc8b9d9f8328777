"""The gateway's environment. Source: docs/reference/environment.md."""

from __future__ import annotations

import os
import socket

from pydantic import Field

from clarion.env import PagesEnv, env_load


class GatewayEnv(PagesEnv):
    """What the gateway needs beside what every service with pages needs."""

    node: str = Field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}", max_length=100)
    """This replica's name, as clients and logs see it."""
    join_timeout_s: float = Field(default=2.0, gt=0, le=30)
    """How long a client's join may wait for Redis to confirm the subscription, and for a session to be read."""


env = env_load(GatewayEnv)
