"""What the worker has done since the process's start: written by the loop, read by the internal port's threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from clarion.histograms import Histogram

BATCH_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Bounds of a batch's seconds: milliseconds when all is well, up to a lease while Redis is slow."""


@dataclass(slots=True)
class Counts:
    """Rows of the outbox; one that is tried again counts again.

    Attributes:
        claimed: leased to this notifier.
        sent: taken by Redis, and settled.
        failed: put off to their next try.
        dead: given up after their last one.
        released: given back untouched: Redis was away, or what stood before them failed.
        batch_s: seconds from a claim that found rows until what became of them was written down.
    """

    claimed: int = 0
    sent: int = 0
    failed: int = 0
    dead: int = 0
    released: int = 0
    batch_s: Histogram = field(default_factory=lambda: Histogram(BATCH_S))
