"""Clean-up: sent rows leave the outbox after ``CLARION_OUTBOX_KEEP_DAYS``.

Source: docs/explanation/outbox.md, "Retention".
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from clarion.outbox.services import CLEAN_LIMIT, messages_clean
from notifier.database import DatabaseThread, DatabaseUnavailable
from notifier.retries import jittered

log = structlog.stdlib.get_logger(__name__)

PERIOD_S: Final = 600.0

_BREATH_S: Final = 0.2
"""Between two deletes of a long clean-up, so that claims and writers come first."""


async def clean(database: DatabaseThread, keep: timedelta) -> None:
    """Delete what is older than ``keep``, now and every ten minutes or so, a thousand rows at a time."""
    while True:
        try:
            rows = await _clean_once(database, keep)
        except DatabaseUnavailable as exc:
            log.warning("outbox.clean_failed", error=str(exc))
        else:
            if rows:
                log.info("outbox.cleaned", rows=rows)
        await asyncio.sleep(jittered(PERIOD_S))


async def _clean_once(database: DatabaseThread, keep: timedelta) -> int:
    total = 0
    while rows := await database.call(messages_clean, keep):
        total += rows
        if rows < CLEAN_LIMIT:
            break
        await asyncio.sleep(_BREATH_S)
    return total
