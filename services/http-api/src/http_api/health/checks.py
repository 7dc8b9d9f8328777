"""What readiness asks, each within a bounded time, and what of it decides.

A database that accepts a connection and then says nothing would hold a probe for ever: a check runs in a thread of its
own, and the answer does not wait for it longer than ``TIMEOUT_S``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import structlog
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor

from clarion.errors import ClarionError
from clarion.publisher import get_publisher
from clarion.refusals import redis_reason, redis_refusal_of

log = structlog.get_logger(__name__)

TIMEOUT_S: Final = 1.5
OK: Final = "ok"

GATES: Final = frozenset({"database", "migrations"})
"""Without these nothing can be answered. Redis decides until it has answered a process once: one that has the wrong
address must not take an old one's place. From then on it is told and does not decide: without it notifications are
taken into the outbox, people sign in, the admin and the pages work, and a publish is told 503 for itself. All replicas
would take themselves out at once, and nobody would be left for any of that.
"""


class CheckFailed(Exception):
    """A check has an answer, and it is no; the text may be shown to anyone.

    Attributes:
        reason: more of it, for the log alone.
    """

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.reason = reason


class BoundedCheck:
    """A check that is asked at most once at a time: one that hangs makes no second thread hang.

    Attributes:
        was_ok: whether it has been, at least once since the process began.
    """

    def __init__(self, name: str, ask: Callable[[], None]) -> None:
        self._name = name
        self._ask = ask
        self._thread: threading.Thread | None = None
        self._answer = OK
        self._last = OK
        self._reason = self._last_reason = ""
        self._lock = threading.Lock()
        self.was_ok = False

    def start(self) -> threading.Thread:
        """Ask in a thread, unless the last asking still hangs."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                # A daemon: a check that hangs must not keep a stopping worker.
                self._thread = threading.Thread(target=self._run, name=f"check-{self._name}", daemon=True)
                self._thread.start()
            return self._thread

    def answer(self, thread: threading.Thread, deadline: float) -> str:
        """Wait until ``deadline`` (of ``time.monotonic``) for the answer: "ok", or in short why not."""
        thread.join(max(0.0, deadline - time.monotonic()))
        answer, reason = ("no answer", "") if thread.is_alive() else (self._answer, self._reason)
        if answer != self._last or reason not in ("", self._last_reason):
            self._last, self._last_reason = answer, reason
            log.warning("readiness.changed", check=self._name, answer=answer, reason=reason)
        return answer

    def _run(self) -> None:
        try:
            self._ask()
            self._answer, self._reason = OK, ""
            self.was_ok = True
        except CheckFailed as exc:
            self._answer, self._reason = str(exc), exc.reason
        except Exception as exc:  # noqa: BLE001 - the thread's boundary; whatever it is, that is a no
            self._answer, self._reason = "unavailable", ""
            log.debug("check.failed", check=self._name, error=repr(exc))
        finally:
            connections.close_all()  # this thread's own


def database_check() -> None:
    """Ask the database for one row."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute("SELECT 1")


def redis_check() -> None:
    """Ask every Redis shard."""
    try:
        get_publisher().ping()
    except ClarionError as exc:
        raise CheckFailed("unavailable", redis_reason(exc) if redis_refusal_of(exc) else "") from exc


class MigrationsCheck:
    """Whether every migration is applied. Once they are, they stay so, and it is not asked again."""

    def __init__(self) -> None:
        self._is_applied = False

    def __call__(self) -> None:
        """Compare the migrations on disk with the database's.

        Raises:
            CheckFailed: some are missing.
        """
        if self._is_applied:
            return
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise CheckFailed("migrations are missing")
        self._is_applied = True


@cache
def checks() -> Mapping[str, BoundedCheck]:
    """This process's checks, by name."""
    asks: dict[str, Callable[[], None]] = {
        "database": database_check,
        "redis": redis_check,
        "migrations": MigrationsCheck(),
    }
    return {name: BoundedCheck(name, ask) for name, ask in asks.items()}


def readiness(timeout_s: float = TIMEOUT_S) -> dict[str, str]:
    """Each check's answer, all asked at once: "ok", or in short why not."""
    asked = {name: (check, check.start()) for name, check in checks().items()}
    deadline = time.monotonic() + timeout_s  # one for all: three that hang take no longer than one
    return {name: check.answer(thread, deadline) for name, (check, thread) in asked.items()}


def is_ready(answers: Mapping[str, str]) -> bool:
    """Whether callers may be sent here, by each check's answer."""
    return all(answer == OK or (name not in GATES and checks()[name].was_ok) for name, answer in answers.items())


def redis_look() -> None:
    """Ask Redis when a process begins: a worker that no probe has met yet knows that it was there."""
    checks()["redis"].start()
