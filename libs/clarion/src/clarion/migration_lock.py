"""One ``migrate`` of a database at a time: the second waits, and finds nothing to do.

Django's own plans first and then makes the tables: of three at once on an empty PostgreSQL, two failed on what the
other one had made. SQLite is one machine's, and has no such lock.

Source: docs/runbooks/rollout.md, "Migrations"; PostgreSQL manual, 13.3.5 "Advisory Locks".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog
from django.core.management.commands.migrate import Command as DjangoCommand
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from clarion.management import database_wait

log = structlog.stdlib.get_logger(__name__)

LOCK_KEY: Final = 0x436C_6172_6D69_6772  # "Clarmigr"
"""The advisory lock that a ``migrate`` holds to its end: per database, the same in every service and release."""


@contextmanager
def migration_lock(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Hold the database's lock; wait for whoever has it, for as long as that takes.

    It belongs to the connection: a ``migrate`` that is killed lets go of it. Through a pooler it must be one whose
    sessions are whole (pgbouncer's ``session``).
    """
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK_KEY])
        (is_ours,) = cursor.fetchone()
        if not is_ours:
            log.info("migration.waiting", reason="another migrate of this database is at work")
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK_KEY])


class LockedMigrate(DjangoCommand):
    """Django's ``migrate``, one at a time, which waits for its database.

    A service has it by ``management/commands/migrate.py`` of an app.
    """

    def handle(self, *args: Any, **options: Any) -> None:
        """Plan and migrate under the lock; who only asks (``--check``, ``--plan``) does not wait."""
        if options["check_unapplied"] or options["plan"]:
            super().handle(*args, **options)
            return
        connection = connections[options["database"]]
        database_wait(connection)
        with migration_lock(connection):
            super().handle(*args, **options)
