"""The environment of http-api, read once per process.

Source: README.md, "Settings"; docs/reference/environment.md.
"""

from __future__ import annotations

from typing import Final

from pydantic import Field

from clarion.env import PagesEnv, env_load


class HttpApiEnv(PagesEnv):
    """What http-api needs beside what all services need."""

    http_bind: str = Field(default="127.0.0.1:8000", pattern=r"^(unix:/\S+|\S+:\d{1,5})$")
    """``host:port`` or ``unix:/path`` that gunicorn listens on."""
    internal_host: str = "127.0.0.1"
    """Address of the internal port; in a container, the container's."""
    internal_port: int = Field(default=9101, ge=0, le=65_535)
    """Port of metrics; 0 takes a free one and logs it."""
    http_workers: int = Field(default=1, ge=1, le=256)
    http_threads: int = Field(default=4, ge=1, le=256)
    """Threads per worker. Each keeps one database connection; Redis connections are at most as many."""
    http_max_requests: int = Field(default=0, ge=0)
    """A worker is replaced after so many requests; 0: never."""
    http_max_requests_jitter: int = Field(default=0, ge=0)
    """Up to so many requests more, at random, so that workers do not restart together."""
    http_graceful_timeout_s: int = Field(default=30, ge=1, le=3600)
    """How long a stopping worker may finish its requests."""
    http_body_max_bytes: int = Field(default=10 * 1024 * 1024, ge=1024)
    """Most bytes of a request's body. Below nginx's own limit (11 MiB), so that the answer is ours."""
    server_api_items_max: int = Field(default=1_000, ge=1, le=100_000)
    """Most items of a list in the server API: channels, commands, a whitelist; publications of a history."""


env: Final = env_load(HttpApiEnv)
