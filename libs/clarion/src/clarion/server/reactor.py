"""The event loop under everything: Twisted's asyncio reactor on uvloop, its log, the process's limits."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import sys
import time
from typing import Any

import uvloop

log = logging.getLogger("clarion.server")


class ReactorUnsuitable(RuntimeError):
    """Twisted's reactor was installed by someone else, on another event loop than uvloop's."""


def install() -> None:
    """Import ``daphne.server`` so that the reactor which it installs stands on uvloop.

    Daphne takes its loop from ``asyncio.new_event_loop`` while it is imported (and gives it the executor that
    ``ASGI_THREADS`` asks for), so that function stands aside for the moment of the import. Where daphne or a
    reactor was imported first nothing can be changed any more: :func:`require_uvloop` says so at start.
    """
    if "daphne.server" in sys.modules or "twisted.internet.reactor" in sys.modules:
        return
    new_event_loop = asyncio.new_event_loop
    asyncio.new_event_loop = uvloop.new_event_loop
    try:
        import daphne.server  # noqa: F401
    finally:
        asyncio.new_event_loop = new_event_loop


def require_uvloop() -> asyncio.AbstractEventLoop:
    """Return the reactor's loop.

    Raises:
        ReactorUnsuitable: the loop is not uvloop's (trap 35), e.g. because ``daphne`` stands in INSTALLED_APPS
            and Django was set up before ``clarion.server`` was imported.
    """
    from twisted.internet import reactor

    loop = getattr(reactor, "_asyncioEventloop", None)
    if not isinstance(loop, uvloop.Loop):
        raise ReactorUnsuitable(
            "clarion.server needs Twisted's asyncio reactor on uvloop, but the reactor already stands on "
            f"{type(loop).__name__}: import clarion.server (or start by python -m clarion.server) before daphne, "
            "twisted.internet.reactor or django.setup() with daphne in INSTALLED_APPS"
        )
    assert isinstance(loop, asyncio.AbstractEventLoop)
    return loop


def raise_file_limit() -> int:
    """Raise the number of files that this process may open to the hard limit; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1_048_576 if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


class LogObserver:
    """Carry Twisted's log to ``logging``: failures as errors, refused accepts as warnings, the rest as debug.

    Stock daphne discards Twisted's log, and with it every exception in a protocol (trap 26) and every
    connection that was dropped for want of file descriptors (trap 33).
    """

    accept_interval_s = 1.0  # a full descriptor table is reported once a second, not once a refused client

    def __init__(self) -> None:
        self._accept_reported_at = 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        level = getattr(event.get("log_level"), "name", "info")
        if level in ("warn", "error", "critical"):
            failure = event.get("log_failure")
            exc_info = (failure.type, failure.value, failure.getTracebackObject()) if failure is not None else None
            log.log(
                logging.WARNING if level == "warn" else logging.ERROR,
                "%s",
                _text(event),
                exc_info=exc_info,
                extra={"event": "reactor.failed"},
            )
        elif event.get("log_namespace") == "twisted.internet.tcp.Port":
            self._accept_failed(event)
        elif log.isEnabledFor(logging.DEBUG):
            log.debug("%s", _text(event), extra={"event": "reactor.told"})

    def _accept_failed(self, event: dict[str, Any]) -> None:
        now = time.monotonic()
        if now - self._accept_reported_at >= self.accept_interval_s:
            self._accept_reported_at = now
            log.warning("connection refused: %s", _text(event), extra={"event": "accept.failed"})


def _text(event: dict[str, Any]) -> str:
    from twisted.logger import formatEvent

    return formatEvent(event) or "an error in the reactor"


def exit_now(signum: int) -> None:
    """Leave at once, without drain: the answer to a third signal (trap 39)."""
    log.warning("signal %d once more: exiting at once", signum, extra={"event": "drain.aborted"})
    logging.shutdown()
    os._exit(128 + signum)
