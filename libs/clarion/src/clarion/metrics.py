"""What all services show at ``GET /metrics`` of their internal port, and the page itself.

Numbers are kept as plain attributes where things happen, and read here when somebody asks: a scrape costs what a scrape
costs, and the rest of the time nothing does. A label never holds a channel's, a user's or a client's name.

Needs the extra ``clarion[metrics]``. Source: docs/reference/metrics.md.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from clarion import __version__
from clarion.histograms import Histogram
from clarion.internal import Response
from clarion.loop_lag import LoopLag

METRICS: Final = "GET /metrics"
"""The route's name."""

Values: TypeAlias = Mapping[Any, float]
"""By the value of a label (a string), or by the values of several (a tuple of strings)."""


def registry(service: str, *collectors: Collector) -> CollectorRegistry:
    """Gather a service's collectors and what every process has: build, memory, CPU, files, garbage collection."""
    found = CollectorRegistry()
    ProcessCollector(registry=found)
    GCCollector(registry=found)
    for collector in (BuildCollector(service), *collectors):
        found.register(collector)
    return found


def metrics_response(registry: CollectorRegistry) -> Response:
    """Everything in Prometheus' text format."""
    return Response(HTTPStatus.OK, generate_latest(registry), CONTENT_TYPE_LATEST)


class BuildCollector(Collector):
    """Which program this is."""

    def __init__(self, service: str) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        build = {(self._service, __version__, platform.python_version()): 1}
        text = "1; the labels say which program this is."
        yield gauge("clarion_build_info", text, build, "service", "version", "python")


class LoopCollector(Collector):
    """How the event loop keeps up."""

    def __init__(self, lag: LoopLag) -> None:
        self._lag = lag

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        yield histogram(
            "clarion_event_loop_lag_seconds",
            "How late the event loop comes to what is due, four times a second.",
            self._lag.histogram,
        )


def counter(name: str, text: str, value: float | Values, *labels: str) -> Metric:
    """A counter, by labels if it has some; its samples are called ``<name>_total``."""
    family = CounterMetricFamily(name, text, labels=labels)
    for key, each in _by_labels(value):
        family.add_metric(key, each)
    return family


def gauge(name: str, text: str, value: float | Values, *labels: str) -> Metric:
    """A value that goes up and down."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, each in _by_labels(value):
        family.add_metric(key, each)
    return family


def histogram(name: str, text: str, value: Histogram) -> Metric:
    """A histogram; read while it is written, its sum may be of one observation more or less."""
    family = HistogramMetricFamily(name, text)
    family.add_metric((), buckets=value.cumulative(), sum_value=value.total)
    return family


def _by_labels(value: float | Values) -> Iterable[tuple[tuple[str, ...], float]]:
    if not isinstance(value, Mapping):
        return [((), value)]
    # A copy in one step: the loop's thread may add a key meanwhile.
    return [((key,) if isinstance(key, str) else key, each) for key, each in dict(value).items()]
