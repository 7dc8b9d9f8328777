"""notifier.wake on a real PostgreSQL: a commit wakes, long before the poll would."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from django.db import connection, transaction

from clarion.outbox.services import outbox_add
from notifier.wake import POLL_POSTGRESQL_S, POLL_SQLITE_S, Wake, listen, poll_s
from tests.support.databases import Database

DEADLINE_S = 30.0


def add(*, fails: bool = False) -> None:
    """Add a row in a transaction of its own, and close the connection of whatever thread this is."""
    try:
        with transaction.atomic():
            outbox_add([("chat:x", 1)])
            if fails:
                raise LookupError
    finally:
        connection.close()


async def test_listen_wakes_at_a_commit_and_not_at_a_rollback(postgresql_database: Database) -> None:
    """No poll stands behind this: only NOTIFY can set the event."""
    wake = Wake()
    listener = asyncio.create_task(listen(wake))
    try:
        await asyncio.wait_for(wake._event.wait(), DEADLINE_S)  # it listens
        wake._event.clear()
        with pytest.raises(LookupError):
            await asyncio.to_thread(add, fails=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wake._event.wait(), 0.3)
        await asyncio.to_thread(add)
        await asyncio.wait_for(wake._event.wait(), DEADLINE_S)
    finally:
        listener.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listener


async def test_wake_set_before_the_wait_is_not_lost() -> None:
    """A commit while the worker was busy is looked at next."""
    wake = Wake()
    wake.set()
    await asyncio.wait_for(wake.wait(DEADLINE_S), DEADLINE_S / 2)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wake.wait(DEADLINE_S), 0.05)


def test_poll_is_short_where_nothing_notifies(database: Database) -> None:
    """SQLite: at most a quarter of a second."""
    assert poll_s() == (POLL_SQLITE_S if database.vendor == "sqlite" else POLL_POSTGRESQL_S)
    assert POLL_SQLITE_S <= 0.25


async def test_listen_is_nothing_on_sqlite(sqlite_database: Database) -> None:
    """The poll alone works there."""
    wake = Wake()
    await asyncio.wait_for(listen(wake), DEADLINE_S)
    assert not wake._event.is_set()
