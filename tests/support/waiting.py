"""Wait for a condition, never for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

DEADLINE_S: Final = 30.0
"""Generous: the tests also run on a loaded machine with two cores."""

Seen = TypeVar("Seen")


def wait_until(condition: Callable[[], Seen], deadline_s: float = DEADLINE_S, *, what: str = "") -> Seen:
    """Call ``condition`` until it returns something true, and return that.

    Raises:
        AssertionError: it was not true within ``deadline_s`` seconds; the text holds ``what`` and the last value.
    """
    end = time.monotonic() + deadline_s
    while not (seen := condition()):
        if time.monotonic() > end:
            raise AssertionError(_text(what, condition, deadline_s, seen))
        time.sleep(0.02)
    return seen


async def wait_until_async(condition: Callable[[], Seen], deadline_s: float = DEADLINE_S, *, what: str = "") -> Seen:
    """Do the same as :func:`wait_until` while the event loop goes on."""
    end = time.monotonic() + deadline_s
    while not (seen := condition()):
        if time.monotonic() > end:
            raise AssertionError(_text(what, condition, deadline_s, seen))
        await asyncio.sleep(0.02)
    return seen


def _text(what: str, condition: Callable[[], object], deadline_s: float, seen: object) -> str:
    name = what or getattr(condition, "__name__", "the condition")
    return f"{name}: not within {deadline_s:g} s (last: {seen!r})"
