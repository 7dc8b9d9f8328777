"""clarion.histograms, clarion.loop_lag, clarion.metrics: what every service shows."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

from prometheus_client.parser import text_string_to_metric_families

from clarion import __version__
from clarion.histograms import LAG_S, Histogram
from clarion.loop_lag import SAMPLE_S, LoopLag
from clarion.metrics import LoopCollector, counter, gauge, histogram, metrics_response, registry
from tests.support.waiting import wait_until_async


def test_histogram_puts_a_value_below_its_bound() -> None:
    """Bounds are inclusive, as ``le`` says; what is over the last one is in +Inf alone."""
    found = Histogram((1, 2.5, 10))
    for value in (0, 1, 1.1, 2.5, 11):
        found.observe(value)
    assert found.cumulative() == [("1.0", 2), ("2.5", 4), ("10.0", 4), ("+Inf", 5)]
    assert found.total == 15.6


def test_histogram_is_an_exposition_that_parses() -> None:
    """Buckets, sum and count agree."""
    observed = Histogram(LAG_S)
    observed.observe(0.003)
    family = histogram("x_seconds", "What.", observed)
    samples = {(sample.name, sample.labels.get("le")): sample.value for sample in family.samples}
    assert samples["x_seconds_bucket", "0.0025"] == 0
    assert samples["x_seconds_bucket", "0.005"] == samples["x_seconds_bucket", "+Inf"] == 1
    assert samples["x_seconds_sum", None] == 0.003


async def test_loop_lag_sees_a_loop_that_is_held() -> None:
    """A turn that takes half a second makes a sample late by at least the half of that."""
    lag = LoopLag()
    lag.start()
    await asyncio.sleep(0)
    time.sleep(2 * SAMPLE_S)  # noqa: ASYNC251 - the loop is held on purpose
    await wait_until_async(lambda: sum(lag.histogram.counts) > 0, what="a sample")
    lag.stop()
    assert lag.histogram.total > SAMPLE_S / 2
    taken = sum(lag.histogram.counts)
    await asyncio.sleep(2 * SAMPLE_S)
    assert sum(lag.histogram.counts) == taken


def test_metrics_page_parses() -> None:
    """The content type says which format; build, process and the collectors given are on it."""
    answer = metrics_response(registry("a-service", LoopCollector(LoopLag())))
    assert answer.content_type.startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    assert families["clarion_build_info"].samples[0].labels["version"] == __version__
    assert {"clarion_event_loop_lag_seconds", "process_resident_memory_bytes"} <= families.keys()


def test_families_take_one_label_or_several() -> None:
    """A label's value is a string; those of several are a tuple in their order."""
    one = counter("x", "What.", {"a": 1, "b": 2}, "reason").samples
    assert [(sample.name, sample.labels, sample.value) for sample in one] == [
        ("x_total", {"reason": "a"}, 1),
        ("x_total", {"reason": "b"}, 2),
    ]
    assert gauge("y", "What.", {("p", "f"): 3}, "protocol", "format").samples[0].labels == {
        "protocol": "p",
        "format": "f",
    }


def test_library_works_without_prometheus_client() -> None:
    """It is an extra: only clarion.metrics imports it."""
    program = """
import sys, pkgutil, importlib
sys.modules["prometheus_client"] = None
for name in ("layers", "subscriber", "publisher", "internal", "histograms", "loop_lag", "server"):
    importlib.import_module(f"clarion.{name}")
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
