"""The notifier's numbers at ``GET /metrics`` of its internal port.

Source: docs/reference/metrics.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.utils import timezone
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from clarion.internal import Handler
from clarion.metrics import LoopCollector, counter, gauge, histogram, metrics_response, registry
from notifier.backlog import BacklogReader
from notifier.counts import Counts
from notifier.health import Health


def metrics_handler(health: Health, counts: Counts, backlog: BacklogReader) -> Handler:
    """The handler of ``GET /metrics``."""
    own, table = OutboxCollector(health, counts), BacklogCollector(backlog)
    found = registry("notifier", LoopCollector(health.loop_lag), own, table)
    return lambda _request: metrics_response(found)


class OutboxCollector(Collector):
    """What becomes of the outbox's rows, and what is needed for that."""

    def __init__(self, health: Health, counts: Counts) -> None:
        self._health = health
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        health, counts = self._health, self._counts
        yield counter("clarion_notifier_claimed", "Rows of the outbox that were claimed.", counts.claimed)
        results = {
            "sent": counts.sent,
            "failed": counts.failed,
            "dead": counts.dead,
            "released": counts.released,
        }
        yield counter("clarion_notifier_settled", "Claimed rows, by what became of them.", results, "result")
        text = "From a claim that found rows until what became of them was written down."
        yield histogram("clarion_notifier_batch_seconds", text, counts.batch_s)
        yield gauge("clarion_notifier_redis_connected", "1 while every Redis answers.", health.is_ok("redis"))
        yield gauge("clarion_notifier_database_connected", "1 while the database answers.", health.is_ok("database"))


class BacklogCollector(Collector):
    """What waits in the outbox, for all notifiers; nothing while the database does not say."""

    def __init__(self, backlog: BacklogReader) -> None:
        self._backlog = backlog

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        backlog = self._backlog.read()
        if backlog is None:
            return
        age_s = 0.0 if backlog.oldest_at is None else (timezone.now() - backlog.oldest_at).total_seconds()
        yield gauge("clarion_outbox_pending", "Rows that wait to be sent.", backlog.pending)
        yield gauge("clarion_outbox_oldest_age_seconds", "How long the oldest of them waits.", max(0.0, age_s))
        yield gauge("clarion_outbox_dead", "Rows that were given up and wait for an operator.", backlog.dead)
