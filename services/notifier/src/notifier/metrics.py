"""The notifier's numbers at ``GET /metrics`` of its internal port.

Source: docs/reference/metrics.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from clarion.internal import Handler
from clarion.metrics import LoopCollector, counter, gauge, metrics_response, registry
from notifier.counts import Counts
from notifier.health import Health


def metrics_handler(health: Health, counts: Counts) -> Handler:
    """The handler of ``GET /metrics``."""
    found = registry("notifier", LoopCollector(health.loop_lag), OutboxCollector(health, counts))
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
        yield gauge("clarion_notifier_redis_connected", "1 while every Redis answers.", health.is_ok("redis"))
        yield gauge("clarion_notifier_database_connected", "1 while the database answers.", health.is_ok("database"))
