"""How late the event loop comes to what is due: what every client of the process waits for, too."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from clarion.histograms import LAG_S, Histogram

SAMPLE_S: Final = 0.25


class LoopLag:
    """Samples a loop four times a second: one timer, which is to come in time.

    Attributes:
        histogram: seconds that each sample came too late.
        beat_at: when the last sample came, on ``time.monotonic()``'s clock; a loop that hangs does not beat.
    """

    def __init__(self) -> None:
        self.histogram = Histogram(LAG_S)
        self.beat_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Sample the running loop until :meth:`stop`."""
        self._arm(asyncio.get_running_loop())

    def stop(self) -> None:
        """Sample no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        # Not loop.time(): uvloop's stands still while a turn of the loop lasts.
        self.beat_at = time.monotonic()
        self._timer = loop.call_later(SAMPLE_S, self._sample, loop)

    def _sample(self, loop: asyncio.AbstractEventLoop) -> None:
        self.histogram.observe(max(0.0, time.monotonic() - self.beat_at - SAMPLE_S))
        self._arm(loop)
