"""How each kind of scenario is measured: one function a kind, on a server that runs for it alone."""

from __future__ import annotations

import json
import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from tests.load.bench import Bench, Sample
from tests.load.curve_measurements import measure_rates, measure_sizes
from tests.load.generator.fleet import fleet
from tests.load.generator.orders import Echo, Post, Received
from tests.load.memory_measurements import measure_parts
from tests.load.processes import Usage, rss_bytes, usage_sum, wait_quiet
from tests.load.protocol_measurements import (
    measure_cost,
    measure_reconnect,
    measure_recover,
    measure_subscriptions,
)
from tests.load.scenarios import Kind, Scenario
from tests.load.sharing_measurements import measure_gateways, measure_reach
from tests.load.stage import ORIGIN, Stage
from tests.load.subjects import server_running

BURSTS_S: Final = 2.0
BURSTS_MAX: Final = 10
"""Bursts are repeated until they took so long or were so many; the median of their rates counts."""


def measure(stage: Stage, scenario: Scenario, subject: str) -> Sample:
    """Measure one subject once."""
    if scenario.kind == "cost":  # a program, no server
        return measure_cost(stage, subject)
    if scenario.kind == "gateways":  # more than one server
        return measure_gateways(stage, scenario, subject)
    processes = len(stage.cores.load)
    with server_running(stage, subject) as server, fleet(stage.cores.load, processes) as load:
        bench = Bench(stage, scenario, server, load)
        try:
            _KINDS[scenario.kind](bench)
        finally:
            bench.close()
    return bench.sample


def _measure_connect(bench: Bench) -> None:
    """Connects, then idle memory, then whether each client is really there."""
    scenario, pids = bench.scenario, bench.server.pids
    bench.warm()
    rss, meter = rss_bytes(pids), bench.meter()
    connected = bench.connect()
    usage = meter.read()
    bench.note_usage(usage)
    wait_quiet(pids)
    server_s = meter.read().server_s
    time.sleep(scenario.settle_s)
    figures = bench.sample.figures
    figures |= {
        "accepted": connected.accepted,
        "refused": scenario.clients - connected.accepted,
        "cpu_us": _each_us(server_s, connected.accepted),
        "wall_s": usage.wall_s,
    }
    if scenario.in_flight:  # in a storm the memory of all that waits at once is not what an idle connection takes
        figures["idle_kib"] = (rss_bytes(pids) - rss) / 1024 / connected.accepted if connected.accepted else math.nan
    bench.check_present(connected.accepted)


def _measure_burst(bench: Bench) -> None:
    """As many deliveries a second as the server makes when publications come faster than it sends."""
    scenario, channel = bench.scenario, bench.channel()
    bench.fill()
    usages: list[Usage] = []
    rates: list[float] = []
    spent_s, arrived, received = 0.0, 0, Received()
    while spent_s < BURSTS_S and len(rates) < BURSTS_MAX and received.frames == received.expected:
        bench.fleet.expect(scenario.messages)
        ready = bench.publisher.make([channel] * scenario.messages)
        meter = bench.meter()
        sent = bench.publisher.send(ready, scenario.deadline_s)
        received = bench.collect(sent.start_ns)
        usages.append(meter.read())
        took_s = (received.done_ns - sent.start_ns) / 1e9
        spent_s += took_s
        rates.append(received.frames / took_s)
        arrived += received.frames
        bench.note_received(received)
    bench.note_usage(usage_sum(usages), rates=("per_s",))
    bench.sample.figures |= {
        "per_s": statistics.median(rates),
        "cpu_us": _each_us(sum(usage.server_s for usage in usages), arrived),
        "missing": received.expected - received.frames,
        "bursts": len(rates),
    }


def _measure_steady(bench: Bench) -> None:
    """Deliveries, latency and CPU per delivery while publications come at a rate."""
    scenario = bench.scenario
    bench.fill()
    count = round(scenario.rate_hz * scenario.duration_s)
    bench.fleet.expect(count)
    meter, start_ns = bench.meter(), time.monotonic_ns()
    bench.publish_paced(count, scenario.rate_hz, start_ns)
    received = bench.collect(start_ns)
    usage = meter.read()
    if received.frames == received.expected:
        bench.publisher.settle()
    bench.note_usage(usage)
    bench.note_received(received)
    latencies = sorted(received.latencies_ns)
    bench.sample.figures |= {
        "per_s": received.frames / max((received.done_ns - start_ns) / 1e9, scenario.duration_s),
        "p50_ms": _percentile(latencies, 0.5) / 1e6,
        "p99_ms": _percentile(latencies, 0.99) / 1e6,
        "cpu_us": _each_us(usage.server_s, received.frames),
        "missing": received.expected - received.frames,
    }


def _measure_own(bench: Bench) -> None:
    """Publications each to a channel of one member, as fast as they can be published."""
    scenario = bench.scenario
    bench.fill()
    picks = random.Random(1).choices(range(scenario.clients), k=scenario.messages)  # the same for all subjects
    counts = Counter(picks)
    bench.fleet.expect_by_client([counts[client] for client in range(scenario.clients)])
    ready = bench.publisher.make([bench.channel(pick) for pick in picks])
    meter = bench.meter()
    sent = bench.publisher.send(ready, scenario.deadline_s)
    received = bench.collect(sent.start_ns)
    usage = meter.read()
    bench.note_usage(usage, rates=("per_s",))
    bench.note_received(received)
    if sent.publications < scenario.messages:
        bench.sample.notes.append(f"{sent.publications:,} were published within {scenario.deadline_s:g} s")
    bench.sample.figures |= {
        "per_s": received.frames / (received.done_ns - sent.start_ns) * 1e9,
        "cpu_us": _each_us(usage.server_s, received.frames),
        "missing": received.expected - received.frames,
    }


def _measure_echo(bench: Bench) -> None:
    """Round trips a second through a consumer's ``receive`` and ``send``."""
    scenario = bench.scenario
    bench.fill()
    text = json.dumps({"text": "x" * 80}).encode()
    bench.fleet.echo(Echo(text, 0.5))
    meter = bench.meter()
    echoed = bench.fleet.echo(Echo(text, scenario.duration_s))
    usage = meter.read()
    bench.note_usage(usage)
    bench.sample.figures |= {
        "per_s": echoed.round_trips / echoed.wall_s,
        "cpu_us": _each_us(usage.server_s, echoed.round_trips),
    }


def _measure_publish(bench: Bench) -> None:
    """Publishes by HTTP over keep-alive connections, and what they leave in Redis."""
    scenario = bench.scenario
    body = json.dumps({"data": {"id": 123_456, "text": "x" * 80, "tags": [1, 2, 3]}}).encode()
    head = [
        f"POST /api/v1/channels/{bench.channel()}/publications HTTP/1.1",
        f"Host: {ORIGIN.removeprefix('http://')}",
        f"Authorization: Bearer {bench.stage.api_key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    requests = [("\r\n".join(head) + "\r\n\r\n").encode() + body] * scenario.clients
    bench.fleet.post(Post(bench.server.port, requests, 1.5))  # opens what is opened on first use
    before, meter = _redis_connections(bench.stage), bench.meter()
    posted = bench.fleet.post(Post(bench.server.port, requests, scenario.duration_s))
    usage = meter.read()
    bench.note_usage(usage)
    good = posted.statuses.get(202, 0)
    bench.sample.figures |= {
        "per_s": good / posted.wall_s,
        "cpu_us": _each_us(usage.server_s, good),
        "errors": sum(posted.statuses.values()) - good,
        "redis_before": before,
        "redis_growth": _redis_connections(bench.stage) - before,
    }


_KINDS: Final[dict[Kind, Callable[[Bench], None]]] = {
    "connect": _measure_connect,
    "burst": _measure_burst,
    "steady": _measure_steady,
    "own": _measure_own,
    "parts": measure_parts,
    "sizes": measure_sizes,
    "rates": measure_rates,
    "reach": measure_reach,
    "echo": _measure_echo,
    "publish": _measure_publish,
    "subscriptions": measure_subscriptions,
    "recover": measure_recover,
    "reconnect": measure_reconnect,
}


def _each_us(cpu_s: float, count: int) -> float:
    return cpu_s / count * 1e6 if count else math.nan


def _redis_connections(stage: Stage) -> int:
    with stage.redis.client() as client:
        return int(client.info("clients")["connected_clients"])


def _percentile(ordered: list[int], share: float) -> float:
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * share))]) if ordered else float("nan")
