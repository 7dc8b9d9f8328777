"""What keeps blocking counters from starving the process: slots, and bounds of their speed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

Scope = Mapping[str, Any]


class TooManyCounters(Exception):
    """This visitor, or all together, have as many blocking counters as the lab allows: close code 4429."""


class Slots:
    """Places that are taken while a handler blocks its thread; used from any thread."""

    def __init__(self, *, per_visitor: int, in_all: int) -> None:
        self._per_visitor = per_visitor
        self._in_all = in_all
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def in_use(self) -> int:
        """Slots taken now, in this process."""
        return self._taken.total()

    @contextmanager
    def slot(self, visitor: str) -> Iterator[None]:
        """Hold a slot for the length of a ``with`` block, or raise TooManyCounters."""
        with self._lock:
            if self._taken[visitor] >= self._per_visitor:
                raise TooManyCounters(f"you have {self._per_visitor} blocking counters running: wait for one to end")
            if self._taken.total() >= self._in_all:
                raise TooManyCounters(f"this process runs {self._in_all} blocking counters: wait for one to end")
            self._taken[visitor] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken[visitor] -= 1
                self._taken += Counter()  # drops the visitors that hold none


blocking_counters = Slots(per_visitor=5, in_all=20)


def visitor_of(scope: Scope) -> str:
    """Who is counted: the user, or the client's address if nobody is signed in."""
    user = scope.get("user")
    if user is not None and user.is_authenticated:
        return f"user {user.pk}"
    return f"address {(scope.get('client') or ['unknown'])[0]}"


def parameter_of(scope: Scope, name: str) -> str:
    """A parameter of the URL's query; "" if it is not there."""
    query: bytes = scope["query_string"]
    return parse_qs(query.decode("latin-1")).get(name, [""])[-1]


def interval_of(scope: Scope) -> float:
    """Seconds from one count to the next: 1, or the URL's ``?interval_ms=``, kept within 50 and 1,000."""
    text = parameter_of(scope, "interval_ms")
    given_ms = int(text) if text.isdecimal() and len(text) < 10 else 1_000
    return min(max(given_ms, 50), 1_000) / 1_000
