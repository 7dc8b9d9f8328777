"""What a worker counts. Labels come from fixed sets: no path, channel or user is ever one.

Under gunicorn the numbers are kept in files that the master reads (prometheus_client's multiprocess mode), elsewhere in
memory. Source: docs/reference/metrics.md, "http-api".
"""

from __future__ import annotations

from collections import Counter as TallyCounter
from collections.abc import Iterable
from functools import cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from clarion.errors import ChannelLayerUnavailable, ClarionError
from clarion.publications import Published

REGISTRY: Final = CollectorRegistry()
"""This process's own numbers; nobody serves them."""

REQUEST_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds of a request's seconds: a publish takes one or two milliseconds, a batch up to twenty seconds."""

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""A client may send any word as its method: others are counted as ``other``."""

_REQUESTS: Final = Counter(
    "clarion_http_requests", "Requests that were answered.", ("method", "route", "status"), registry=REGISTRY
)
_SECONDS: Final = Histogram(
    "clarion_http_request_seconds",
    "From a request's head to its answer, as Django sees it.",
    ("route",),
    buckets=REQUEST_S,
    registry=REGISTRY,
)
_PUBLICATIONS: Final = Counter(
    "clarion_http_publications", "Publications, by what Redis made of them.", ("result",), registry=REGISTRY
)
_SENT: Final = _PUBLICATIONS.labels("sent")
_FAILED: Final = _PUBLICATIONS.labels("failed")


@cache  # finding a labelled child costs as much as counting does
def _series(method: str, route: str, status_class: int) -> tuple[Counter, Histogram]:
    return _REQUESTS.labels(method, route, f"{status_class}xx"), _SECONDS.labels(route)


def request_count(method: str, route: str, status: int, duration_s: float) -> None:
    """Count one answered request.

    Args:
        route: the URL pattern's name.
        status: the answer's HTTP status; its class is counted, e.g. ``2xx``.
    """
    requests, seconds = _series(method if method in METHODS else "other", route, status // 100)
    requests.inc()
    seconds.observe(duration_s)


class _PublicationCounted:
    """Around one publish: what is refused is neither sent nor failed, and its request's status says so."""

    def __enter__(self) -> None:
        """Nothing is counted before."""

    def __exit__(self, kind: type[BaseException] | None, _exc: object, _traceback: object) -> None:
        """Count it as sent, or as failed if Redis did not take it."""
        if kind is None:
            _SENT.inc()
        elif issubclass(kind, ChannelLayerUnavailable):
            _FAILED.inc()


publication_counted: Final = _PublicationCounted()


def publications_count(answers: Iterable[Published | ClarionError]) -> None:
    """Count what became of a broadcast's publications."""
    kinds = TallyCounter(map(type, answers))
    _SENT.inc(kinds[Published])
    _FAILED.inc(kinds[ChannelLayerUnavailable])
