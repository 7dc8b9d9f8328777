"""gunicorn's configuration: ``gunicorn -c gunicorn.conf.py``.

The environment is read here, in the master: a wrong one ends it with exit code 78 and one line a problem, before any
worker is forked. Source: deploy/nginx/README.md (keep-alive).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

from clarion.env import refused_exit
from clarion.logs import logging_config
from http_api.env import env
from http_api.metrics.master import child_exit, on_exit, post_fork, when_ready  # noqa: F401 - gunicorn's hooks


class EventLogger(Logger):
    """gunicorn's logger without an access log: nginx has it, and preparing a line costs a request 40 µs."""

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Write nothing."""


def on_starting(server: Any) -> None:
    """A PostgreSQL or Redis that refuses us ends the master like a wrong environment; one away is waited for."""
    refused_exit(env)


wsgi_app = "http_api.wsgi:application"
bind = env.http_bind
worker_class = "gthread"
workers = env.http_workers
threads = env.http_threads
max_requests = env.http_max_requests
max_requests_jitter = env.http_max_requests_jitter

timeout = 30  # a worker whose main loop is silent for so long is replaced
graceful_timeout = env.http_graceful_timeout_s
keepalive = 75  # over nginx's 30 s (its default: 60): it is never we who close a connection nginx is about to use

# nginx passes request lines and headers of up to 8 KiB each on: refuse none of them with gunicorn's own page.
limit_request_line = 0x3FFE
limit_request_field_size = 0x3FFE

# A heartbeat file on a disk can stall a worker; a root file system may be read-only.
_SHM = Path("/dev/shm")  # noqa: S108 - gunicorn makes its own file there
worker_tmp_dir = str(_SHM) if _SHM.is_dir() else None
control_socket_disable = True

logger_class = EventLogger
_logging = logging_config("http-api", env.log_level, env.log_format)
logconfig_dict = {
    **_logging,
    "loggers": {
        **_logging["loggers"],
        # gunicorn stops its loggers from propagating: they need the handler themselves.
        "gunicorn.error": {"handlers": ["stderr"], "level": env.log_level, "propagate": False},
    },
}
