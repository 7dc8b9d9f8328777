"""What the worker has done since the process's start: written by the loop, read by the internal port's threads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Rows of the outbox; one that is tried again counts again.

    Attributes:
        claimed: leased to this notifier.
        sent: taken by Redis, and settled.
        failed: put off to their next try.
        dead: given up after their last one.
        released: given back untouched: Redis was away, or what stood before them failed.
    """

    claimed: int = 0
    sent: int = 0
    failed: int = 0
    dead: int = 0
    released: int = 0
