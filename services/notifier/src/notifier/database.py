"""The database from asyncio: Django's synchronous connections, each in a thread of its own, with a deadline.

Source: Django documentation, "Asynchronous support"; ADR-0005.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar

from django.db import DatabaseError, InterfaceError, close_old_connections, connection, connections
from django.db.migrations.executor import MigrationExecutor

from notifier.settings.base import DATABASE_DEADLINE_S

Args = ParamSpec("Args")
Result = TypeVar("Result")

SHARED_LABELS: Final = ("clarion_outbox", "clarion_inbox")
"""The apps whose tables a notifier needs; http-api migrates them."""


class DatabaseUnavailable(Exception):
    """The database is away, too slow or not migrated; the text names the kind of error, never a value."""


class DatabaseThread:
    """One thread with one connection. Calls run one after another.

    Connections are looked at before each use (``CONN_HEALTH_CHECKS``), so a restarted PostgreSQL costs at most the
    call that was under way.
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"database-{name}")
        self._calls: set[Future[Any]] = set()

    @property
    def is_busy(self) -> bool:
        """Whether a call has not returned, perhaps long after its caller's deadline."""
        return bool(self._calls)

    async def call(self, function: Callable[Args, Result], *args: Args.args, **kwargs: Args.kwargs) -> Result:
        """Run a function with Django's connection and return what it returns.

        Past the deadline the caller goes on, the thread does not: whether the transaction was committed is then not
        known. A claim so lost comes back when its lease ends; settling twice does no harm.

        Raises:
            DatabaseUnavailable: it failed for a reason of the database's, or took over ``DATABASE_DEADLINE_S``.
        """
        future = self.submit(partial(function, *args, **kwargs))
        try:
            async with asyncio.timeout(DATABASE_DEADLINE_S):
                return await asyncio.wrap_future(future)
        except TimeoutError as exc:
            raise DatabaseUnavailable(f"no answer within {DATABASE_DEADLINE_S:g} s") from exc
        except (DatabaseError, InterfaceError) as exc:
            raise DatabaseUnavailable(_kind(exc)) from exc

    def submit(self, function: Callable[[], Result]) -> Future[Result]:
        """Run a function behind the calls before it; for a caller in any thread, who waits as long as it likes.

        Raises:
            RuntimeError: it has been closed.
        """
        future = self._executor.submit(_run, function)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        return future

    async def close(self) -> None:
        """Close the connection, unless the thread hangs; no call may follow."""
        if not self.is_busy:
            with contextlib.suppress(DatabaseUnavailable):
                await self.call(connections.close_all)
        self._executor.shutdown(wait=False, cancel_futures=True)


def _run(function: Callable[[], Result]) -> Result:
    close_old_connections()
    try:
        return function()
    except (DatabaseError, InterfaceError):
        connection.close()  # whatever state it is in: the next call begins with a new one
        raise


def _kind(exc: BaseException) -> str:
    # The driver's class says more than Django's (UndefinedTable, AdminShutdown), and unlike its text quotes no value.
    return type(exc.__cause__ or exc).__name__


def database_check() -> None:
    """Ask the database for anything at all."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def migrations_missing() -> list[str]:
    """Migrations of the shared tables that this notifier needs and the database lacks."""
    executor = MigrationExecutor(connection)
    targets = [node for node in executor.loader.graph.leaf_nodes() if node[0] in SHARED_LABELS]
    plan = executor.migration_plan(targets)
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
