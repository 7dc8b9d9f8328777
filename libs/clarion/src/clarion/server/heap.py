"""Memory that is free in this process goes back to the system.

After a hundred stalled clients are gone, what waited for them is free, but between objects that live: the C library
gives back only the end of its heap by itself, and the process keeps its size for good (trap 55).
"""

from __future__ import annotations

import ctypes
import logging
import time

log = logging.getLogger("clarion.server")

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others (musl) give back by themselves


def give_back() -> None:
    """Give free pages back, also from within the heap; 90 MB take 7 ms."""
    if _trim is None:
        return
    began = time.perf_counter()
    _trim(0)
    log.debug("memory given back in %.1f ms", (time.perf_counter() - began) * 1000, extra={"event": "memory.trimmed"})
