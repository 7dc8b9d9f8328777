"""Waits between tries: exponential, bounded, with jitter, so that replicas do not come back all at once.

Source: AWS Builders' Library, "Timeouts, retries, and backoff with jitter".
"""

from __future__ import annotations

import random
from typing import Final

ROW_RETRY_MAX_S: Final = 300.0
"""Longest wait of a row that could not be sent."""

OUTAGE_RETRY_MAX_S: Final = 2.0
"""Longest wait between two looks at a Redis or a database that is away: so late, at most, its return is noticed."""


def jittered(delay_s: float) -> float:
    """A random time between half of the delay and all of it."""
    return delay_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


def row_retry_s(attempts: int, first_s: float) -> float:
    """How long a row waits after its failure number ``attempts`` (from 1)."""
    # The exponent is bounded as well: 2.0**5000 does not exist.
    return jittered(min(first_s * 2.0 ** min(attempts - 1, 32), ROW_RETRY_MAX_S))


class Backoff:
    """The waits of one outage: 0.1 s, doubled up to ``max_s``, each with jitter."""

    def __init__(self, first_s: float = 0.1, max_s: float = OUTAGE_RETRY_MAX_S) -> None:
        self._first_s = first_s
        self._max_s = max_s
        self._delay_s = first_s

    def next_s(self) -> float:
        """How long to wait now."""
        delay_s, self._delay_s = self._delay_s, min(2 * self._delay_s, self._max_s)
        return jittered(delay_s)

    def reset(self) -> None:
        """The outage is over: the next one begins with a short wait again."""
        self._delay_s = self._first_s
