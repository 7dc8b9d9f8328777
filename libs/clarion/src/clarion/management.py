"""Django's management commands of a service: what goes wrong with the database is one line, not a traceback.

Source: docs/reference/environment.md, "Exit codes".
"""

from __future__ import annotations

import random
import sys
import time
from typing import Final, NoReturn

import structlog
from django.core.management import execute_from_command_line
from django.db import InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from clarion.env import EXIT_CONFIG
from clarion.refusals import DATABASE_VARIABLE, database_refusal_of

log = structlog.stdlib.get_logger(__name__)

EXIT_DATABASE_AWAY: Final = 75
"""Exit code of a command whose database did not answer (EX_TEMPFAIL of sysexits.h): try again."""

WAIT_S: Final = 60.0
"""How long ``migrate`` waits for a database that is not there yet: what starts beside it is there by then."""

_FIRST_DELAY_S: Final = 0.2
_MAX_DELAY_S: Final = 5.0


def command_run(program: str) -> None:
    """Run the management command of ``sys.argv``, for a ``__main__``.

    Exits with 78 if the database refuses ``DATABASE_URL``, with 75 if it is away, else as Django does.
    """
    try:
        execute_from_command_line([program, *sys.argv[1:]])
    except (OperationalError, InterfaceError) as exc:
        _exit(exc)


def _exit(error: Exception) -> NoReturn:
    if refusal := database_refusal_of(error):
        sys.stderr.write(f"configuration: {DATABASE_VARIABLE}: {refusal}\n")
        sys.exit(EXIT_CONFIG)
    sys.stderr.write(f"database: {_first_line(error)}\n")
    sys.exit(EXIT_DATABASE_AWAY)


def database_wait(connection: BaseDatabaseWrapper, wait_s: float = WAIT_S) -> None:
    """Wait until the database lets us in, with back-off, and say for what.

    Raises:
        OperationalError: it refuses us, or is still away after ``wait_s``.
    """
    deadline, delay_s, said = time.monotonic() + wait_s, _FIRST_DELAY_S, ""
    while True:
        try:
            return connection.ensure_connection()
        except OperationalError as exc:
            if database_refusal_of(exc) or time.monotonic() + delay_s > deadline:
                raise
            if (reason := _first_line(exc)) != said:
                log.warning("database.waiting", reason=reason, wait_s=wait_s)
                said = reason
        time.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        delay_s = min(2 * delay_s, _MAX_DELAY_S)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
