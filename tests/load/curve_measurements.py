"""How a curve is measured: one server, step after step, until it cannot keep up."""

from __future__ import annotations

import time

from tests.load.bench import Bench, Point
from tests.load.generator.orders import Received
from tests.load.processes import wait_quiet


def measure_sizes(bench: Bench) -> None:
    """Deliveries a second in a burst, and latency at a rate, while the room grows."""
    scenario, members = bench.scenario, 0
    bench.warm()
    for size in scenario.steps:
        bench.check_accepted(bench.connect_more(size - members))
        members = size
        bench.check_present(size)
        calm, _ = _paced(bench, scenario.rate_hz)
        if not _is_whole(calm):
            bench.sample.points.append(Point(size, float("nan"), _p99_ms(calm), is_whole=False))
            return
        bench.fleet.expect(scenario.messages)
        ready = bench.publisher.make([bench.channel()] * scenario.messages)
        start_ns = bench.publisher.send(ready, scenario.deadline_s).start_ns
        burst = bench.collect(start_ns)
        per_s = burst.frames / (burst.done_ns - start_ns) * 1e9
        bench.sample.points.append(Point(size, per_s, _p99_ms(calm), is_whole=_is_whole(burst)))
        if not _is_whole(burst):
            return
        wait_quiet(bench.server.pids)


def measure_rates(bench: Bench) -> None:
    """Deliveries a second and latency in one room, while more is published each second."""
    scenario = bench.scenario
    bench.fill()
    for rate_hz in scenario.steps:
        received, start_ns = _paced(bench, rate_hz)
        # The last one is published a step before the end: without this a slow rate would look higher than it is.
        took_s = max((received.done_ns - start_ns) / 1e9, scenario.duration_s)
        per_s = received.frames / took_s
        offered = rate_hz * scenario.clients
        is_whole = _is_whole(received)
        bench.sample.points.append(Point(offered, per_s, _p99_ms(received), is_whole))
        if not is_whole:
            return
        wait_quiet(bench.server.pids)


def _paced(bench: Bench, rate_hz: float) -> tuple[Received, int]:
    """Publish at a rate, whether the server keeps up or not; return also when it began."""
    scenario = bench.scenario
    count = max(2, round(rate_hz * scenario.duration_s))
    bench.fleet.expect(count)
    start_ns = time.monotonic_ns()
    bench.publish_paced(count, rate_hz, start_ns)
    received = bench.collect(start_ns)
    if _is_whole(received):
        bench.publisher.settle()
    return received, start_ns


def _is_whole(received: Received) -> bool:
    return received.frames >= received.expected


def _p99_ms(received: Received) -> float:
    ordered = sorted(received.latencies_ns)
    return ordered[len(ordered) * 99 // 100] / 1e6 if ordered else float("nan")
