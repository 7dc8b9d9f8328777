"""The notifier's environment, read once per process.

Source: README.md, "Settings"; docs/reference/environment.md.
"""

from __future__ import annotations

import os
import socket
from typing import Final

from pydantic import Field

from clarion.env import ServiceEnv, env_load


class NotifierEnv(ServiceEnv):
    """What the notifier needs beside what all services need."""

    node: str = Field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}", min_length=1, max_length=100)
    """This replica's name, as logs and the outbox's leases show it."""
    internal_host: str = "127.0.0.1"
    """Address of the internal port; in a container, the container's."""
    internal_port: int = Field(default=9103, ge=0, le=65_535)
    """Port of health checks; 0 takes a free one and logs it."""
    notifier_batch: int = Field(default=100, ge=1, le=1000)
    """Rows of one claim, at most."""
    notifier_lease_s: float = Field(default=30.0, ge=1, le=3600)
    """How long claimed rows wait for a notifier that was killed before another one takes them."""
    notifier_attempts: int = Field(default=5, ge=1, le=100)
    """Failures of a row's own before it is dead. An outage of Redis counts for none."""
    notifier_retry_s: float = Field(default=1.0, gt=0, le=3600)
    """Wait after a row's first failure; doubled each time, up to five minutes, with jitter."""
    notifier_grace_s: float = Field(default=8.0, gt=0, le=3600)
    """How long a stop may take; under the 10 s after which most supervisors kill."""
    outbox_keep_days: float = Field(default=7.0, ge=0, le=3650)
    """Sent rows are deleted after so many days."""


env: Final = env_load(NotifierEnv)
