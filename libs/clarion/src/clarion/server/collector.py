"""Python's garbage collector, so that it does not stop the loop for all that lives.

Each of its full collections walks every object: 312 ms with 19,000 idle connections, seven times while they came, a
fifth of the CPU. Yet almost nothing that lives for seconds is garbage that only a collection finds. So what has lived
through two young collections is frozen, once a second: no later one walks it, and references free it as ever. Cycles
that die young are found as before. Those that were frozen are looked for, in all that lives, once there are signs of
them: connections that have ended and are still in the memory, or much more that was frozen than connections explain.

Trap 54. Source: ADR-0012.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from clarion.server.limits import Shared

log = logging.getLogger("clarion.server")

STEP_S: Final = 1.0
THRESHOLDS: Final = (5_000, 5, 1_000_000)
"""Net new objects before a young collection (1.4 ms), such before a middle one (8 ms); none is full."""

THAW_OBJECTS: Final = 100_000
"""Frozen since the last time, at least as many as lived then: a sign of garbage."""

OBJECTS_OF_CONNECTION: Final = 60
"""A connection that has come is none; the gateway's has 29 objects."""

THAW_UNDEAD: Final = 256
"""Connections that have ended and are in the memory, and a quarter of those that are open: another sign."""

FUTILE_PART: Final = 20
PATIENCE_MAX: Final = 8


class Collector:
    """Freezes what has grown old, and now and then looks through all that is frozen.

    Args:
        shared: says how many connections there are.

    Attributes:
        thaws: how often all was looked through; each is a pause.
    """

    def __init__(self, shared: Shared) -> None:
        self.thaws = 0
        self._shared = shared
        self._loop: asyncio.AbstractEventLoop | None = None
        self._alive = 0  # objects, at the last thaw
        self._connections = 0  # then, too
        self._undead = 0
        self._frozen = 0  # objects, since then
        self._patience = 1

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Freeze what start-up has made, and begin."""
        self._loop = loop
        gc.collect()
        gc.freeze()
        self._settle()
        if sys.version_info >= (3, 14):  # it collects step by step, and has no middle generation
            return
        gc.set_threshold(*THRESHOLDS)
        self._arm()

    def step(self) -> None:
        """Freeze what is old, if anything has grown old; thaw, if there are signs of garbage."""
        if not gc.isenabled():
            return
        if gc.get_count()[2]:
            gc.collect(1)  # or what is young would be frozen with it, garbage and all
            self._frozen += len(gc.get_objects(generation=2))
            gc.freeze()
        connections, undead = len(self._shared.sockets), self._shared.undead
        unexplained = self._frozen - OBJECTS_OF_CONNECTION * max(0, connections - self._connections)
        if unexplained > self._patience * max(THAW_OBJECTS, self._alive) or (
            undead - self._undead > self._patience * max(THAW_UNDEAD, connections // 4)
        ):
            self.thaw()

    def thaw(self) -> None:
        """Look through everything: a full collection, 0.5 us an object."""
        began, frozen, undead = time.perf_counter(), self._frozen, self._shared.undead
        gc.unfreeze()
        found = gc.collect()
        gc.freeze()
        self.thaws += 1
        # Who makes no cycles that grow old is not looked through as often.
        still_undead = self._shared.undead > undead // 2 or not undead
        is_futile = found <= frozen // FUTILE_PART and still_undead
        self._patience = min(PATIENCE_MAX, self._patience * 2) if is_futile else 1
        self._settle()
        took_ms = (time.perf_counter() - began) * 1000
        log.info(
            "garbage collection: %d of %d objects in %.0f ms",
            found,
            found + self._alive,
            took_ms,
            extra={"event": "garbage.collected"},
        )

    def _settle(self) -> None:
        self._alive = gc.get_freeze_count()
        self._connections = len(self._shared.sockets)
        self._undead = self._shared.undead
        self._frozen = 0

    def _arm(self) -> None:
        assert self._loop is not None
        self._loop.call_later(STEP_S, self._step, context=contextvars.Context())

    def _step(self) -> None:
        try:
            self.step()
        finally:
            self._arm()
