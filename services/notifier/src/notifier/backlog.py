"""What waits in the outbox: asked of the database when somebody scrapes, and never else.

Source: docs/reference/metrics.md, "The outbox".
"""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from typing import Final

import structlog
from django.db import DatabaseError, InterfaceError, connection, transaction

from clarion.outbox.selectors import Backlog, backlog_get
from notifier.database import DatabaseThread

log = structlog.stdlib.get_logger(__name__)

ANSWER_S: Final = 1.0
"""How long a scrape waits for the database; Prometheus gives the whole of it five seconds."""


class BacklogReader:
    """Asks for the backlog, one question at a time: scrapes that come meanwhile share its answer.

    Args:
        database: a thread that may be kept busy for ``ANSWER_S``.
    """

    def __init__(self, database: DatabaseThread) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._question: Future[Backlog] | None = None

    def read(self) -> Backlog | None:
        """What waits now; None if the database does not say in time. Called by the internal port's threads."""
        try:
            return self._ask().result(ANSWER_S)
        except (TimeoutError, CancelledError, DatabaseError, InterfaceError, RuntimeError) as exc:
            # The monitor logs an outage, and the scrape shows it (database_connected).
            log.debug("backlog.unknown", error=type(exc).__name__)
            return None

    def _ask(self) -> Future[Backlog]:
        with self._lock:
            if self._question is None or self._question.done():
                self._question = self._database.submit(_backlog)
            return self._question


def _backlog() -> Backlog:
    if connection.vendor != "postgresql":
        return backlog_get()
    with transaction.atomic(), connection.cursor() as cursor:
        # By then nobody waits for it any more.
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{ANSWER_S * 1000:.0f}ms"])
        return backlog_get()
