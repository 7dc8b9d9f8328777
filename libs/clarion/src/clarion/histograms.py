"""Histograms that cost a tenth of a microsecond to observe: a list of integers, written by one thread.

prometheus_client's own takes a lock and walks its buckets for each observation, which is more than a delivery may cost.

Source: docs/reference/metrics.md.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

LAG_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Bounds for what should take milliseconds: fan-out, the event loop."""


class Histogram:
    """Observations by bucket.

    Args:
        bounds: upper bounds, inclusive, ascending; one more bucket takes what is over the last.

    Attributes:
        counts: observations of each bucket alone. Whoever observes in a loop may add to these itself.
        total: sum of what was observed.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total: float = 0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, int]]:
        """``(upper bound, observations up to it)`` as an exposition has them, the last one ``+Inf``."""
        names = [*(f"{bound:g}" if bound != int(bound) else f"{bound:.1f}" for bound in self.bounds), "+Inf"]
        return list(zip(names, accumulate(list(self.counts)), strict=True))
