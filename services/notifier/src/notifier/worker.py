"""The worker: claim, send, settle, until it is told to stop.

Every step may fail and be repeated. Sent and not settled is sent again after the lease: at least once.

Source: docs/explanation/outbox.md; ADR-0005.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog

from clarion.internal import OK
from clarion.outbox.claims import Claim, ClaimedMessage, messages_claim, messages_settle
from notifier.counts import Counts
from notifier.database import DatabaseThread, DatabaseUnavailable
from notifier.health import Health
from notifier.redis_check import RedisCheck, RedisUnavailable
from notifier.retries import Backoff
from notifier.sending import Outcome, Sender
from notifier.wake import Wake

log = structlog.stdlib.get_logger(__name__)

LEASE_USE: Final = 0.7
"""The part of a lease in which its holder sends; the rest is for settling, and for clocks that differ."""


class Worker:
    """Drains the outbox.

    Args:
        name: as the leases show it; unique among running notifiers.
        poll_s: seconds between two looks at an empty outbox when nothing wakes it.
    """

    def __init__(
        self,
        name: str,
        *,
        database: DatabaseThread,
        redis: RedisCheck,
        sender: Sender,
        health: Health,
        counts: Counts,
        wake: Wake,
        batch: int,
        lease_s: float,
        poll_s: float,
    ) -> None:
        self._name = name
        self._database = database
        self._redis = redis
        self._sender = sender
        self._health = health
        self._counts = counts
        self._wake = wake
        self._batch = batch
        self._lease_s = lease_s
        self._poll_s = poll_s
        self._stopping = asyncio.Event()
        self._database_backoff = Backoff()
        self._cursor = ""
        self._is_round_empty = True

    def stop(self) -> None:
        """Finish the batch and return from :meth:`run`."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Work until :meth:`stop`."""
        self._health.set("worker", OK)
        log.info("worker.ready", worker=self._name)
        while not self._stopping.is_set():
            began_s = time.monotonic()
            claim = await self._claim()
            if claim is None:
                continue
            if claim.messages:
                self._is_round_empty = False
                await self._batch_send(claim.messages, began_s)
            if claim.cursor == "":  # every channel has had its turn
                if self._is_round_empty and not self._stopping.is_set():
                    await self._wake.wait(self._poll_s)
                self._is_round_empty = True

    async def _batch_send(self, messages: Sequence[ClaimedMessage], began_s: float) -> None:
        """Send what was claimed, and write down what became of it."""
        outcome = await self._sender.send(messages, began_s + LEASE_USE * self._lease_s)
        await self._settle(outcome)
        self._counts.batch_s.observe(time.monotonic() - began_s)
        if outcome.is_outage:
            await self._redis_wait()

    async def _claim(self) -> Claim | None:
        """Claim the next rows; None after a pause for a database that is away."""
        claim = partial(
            messages_claim,
            self._name,
            limit=self._batch,
            per_channel=self._batch,
            lease_s=self._lease_s,
            after=self._cursor,
        )
        try:
            found = await self._database.call(claim)
        except DatabaseUnavailable as exc:
            await self._database_wait(exc)
            return None
        self._database_backoff.reset()
        self._cursor = found.cursor
        self._counts.claimed += len(found.messages)
        return found

    async def _settle(self, outcome: Outcome) -> None:
        """Write down what became of a claim; while the database is away, that is kept here and tried again."""
        settle = partial(
            messages_settle, self._name, sent=outcome.sent, failed=outcome.failed, released=outcome.released
        )
        while True:
            try:
                await self._database.call(settle)
                break
            except DatabaseUnavailable as exc:
                if self._stopping.is_set():
                    log.warning("batch.unsettled", rows_sent=len(outcome.sent), error=str(exc))
                    return  # their leases end, and they are sent again
                await self._database_wait(exc)
        self._count(outcome)
        log.debug("batch.settled", sent=len(outcome.sent), failed=len(outcome.failed), released=len(outcome.released))

    def _count(self, outcome: Outcome) -> None:
        dead = sum(failure.retry_in_s is None for failure in outcome.failed)
        self._counts.sent += len(outcome.sent)
        self._counts.failed += len(outcome.failed) - dead
        self._counts.dead += dead
        self._counts.released += len(outcome.released)

    async def _database_wait(self, exc: DatabaseUnavailable) -> None:
        """One pause; the caller's next try says whether the outage is over."""
        self._health.set("database", f"unavailable: {exc}")
        delay_s = self._database_backoff.next_s()
        log.warning("database.lost", error=str(exc), retry_in_s=round(delay_s, 2))
        await self._pause(delay_s)

    async def _pause(self, delay_s: float) -> None:
        """Wait, unless told to stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()

    async def _redis_wait(self) -> None:
        """Claim nothing while Redis is away: no row is to blame, none counts an attempt."""
        began_s, backoff, said = time.monotonic(), Backoff(), ""
        self._health.set("redis", "unavailable")
        log.warning("redis.lost")
        while not self._stopping.is_set():
            await self._pause(backoff.next_s())
            try:
                await self._redis.ping()
            except RedisUnavailable as exc:
                if str(exc) != said:
                    said = str(exc)
                    log.warning("redis.waiting", reason=said)
                continue
            self._health.set("redis", OK)
            log.info("redis.regained", outage_s=round(time.monotonic() - began_s, 1))
            return
