"""What wakes the worker: PostgreSQL's NOTIFY at a commit, and a poll beside it.

SQLite has no such call, so there the poll alone finds new rows. On PostgreSQL the poll finds what no commit tells of:
leases that ended, retries that are due, and everything while the listener is away or a pooler swallows NOTIFY.

Source: PostgreSQL manual, LISTEN; docs/explanation/outbox.md, "Waking".
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import psycopg
import structlog
from django.db import connection

from clarion.outbox.order import NOTIFY_CHANNEL
from notifier.retries import Backoff

log = structlog.stdlib.get_logger(__name__)

POLL_SQLITE_S: Final = 0.2
POLL_POSTGRESQL_S: Final = 1.0

_LISTEN_CHECK_S: Final = 15.0
"""A connection that went silently is noticed after so long; the poll bridges it."""

_ANSWER_S: Final = 5.0


class Wake:
    """An event that a waiter takes down again."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """There may be work."""
        self._event.set()

    async def wait(self, at_most_s: float) -> None:
        """Return at a call of :meth:`set`, also one from before, or after ``at_most_s``."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._event.wait()
        except TimeoutError:
            return
        # Cleared before the caller looks for work: a row that comes while it looks sets it again.
        self._event.clear()


def poll_s() -> float:
    """Seconds between two looks at an outbox that was empty."""
    return POLL_POSTGRESQL_S if connection.vendor == "postgresql" else POLL_SQLITE_S


async def listen(wake: Wake) -> None:
    """Wake at every commit that added to the outbox; come back after a lost connection. Returns on SQLite only."""
    if connection.vendor != "postgresql":
        return
    backoff = Backoff()
    while True:
        try:
            await _listen_once(wake, backoff)
        except (psycopg.Error, OSError, TimeoutError) as exc:
            delay_s = backoff.next_s()
            log.warning("listener.disconnected", error=type(exc).__name__, retry_in_s=round(delay_s, 2))
            await asyncio.sleep(delay_s)


async def _listen_once(wake: Wake, backoff: Backoff) -> None:
    async with asyncio.timeout(_ANSWER_S):
        listener = await psycopg.AsyncConnection.connect(**_parameters(), autocommit=True)
    async with listener:
        async with asyncio.timeout(_ANSWER_S):
            await listener.execute(f"LISTEN {NOTIFY_CHANNEL}".encode())
        log.info("listener.connected")
        backoff.reset()
        wake.set()  # for what was committed before the LISTEN
        while True:
            async for _ in listener.notifies(timeout=_LISTEN_CHECK_S):
                wake.set()
            async with asyncio.timeout(_ANSWER_S):
                await listener.execute(b"SELECT 1")


def _parameters() -> dict[str, Any]:
    """Django's own parameters of the connection, less what belongs to its synchronous cursors."""
    parameters: dict[str, Any] = connection.get_connection_params()
    return {name: value for name, value in parameters.items() if name not in {"cursor_factory", "context"}}
