"""How each kind of scenario is measured: one function a kind, on a server that runs for it alone."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.load.generator.fleet import Fleet, fleet
from tests.load.generator.orders import Connect, Connected, Echo, Post, Received
from tests.load.processes import Meter, Usage, rss_bytes, usage_sum, wait_quiet
from tests.load.publishing import Publisher
from tests.load.scenarios import Kind, Scenario
from tests.load.stage import ORIGIN, Stage, handshake
from tests.load.subjects import Server, server_running

WARM_CLIENTS: Final = 50
"""Connected and dropped before anything is measured, so that no first-time import counts."""

BURSTS_S: Final = 2.0
BURSTS_MAX: Final = 10
"""Bursts are repeated until they took so long or were so many; the median of their rates counts."""

BOTTLENECK: Final = 0.95
"""A generator that used so much of its cores while the server did not was what limited the figure."""

SETTLE_S: Final = 2.0


class MeasurementFailed(Exception):
    """Something that must not be was seen: frames lost by the generator's count, a generator that was too slow."""


@dataclass
class Sample:
    """What one measurement of one subject gave.

    Attributes:
        figures: name → number; ``report.FIGURES`` says what each is.
        notes: what a reader of the numbers must know.
        faults: why they are not to be trusted.
    """

    figures: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Bench:
    """What a measurement works with."""

    stage: Stage
    scenario: Scenario
    server: Server
    fleet: Fleet
    sample: Sample
    publishers: dict[str, Publisher] = field(default_factory=dict)

    def publisher(self, channel: str) -> Publisher:
        """The one that publishes to a channel: its numbers go on from one use to the next."""
        if channel not in self.publishers:
            self.publishers[channel] = Publisher(self.stage.redis.port, channel)
        return self.publishers[channel]

    def meter(self) -> Meter:
        """Read CPU clocks from now on."""
        return Meter(self.server.pids, self.fleet.pids, [self.stage.redis_pid])

    def usage(self, usage: Usage) -> None:
        """Note how busy both sides were, and whether the generator was the bottleneck."""
        load = usage.load_busy(len(self.stage.cores.load))
        self.sample.figures |= {"server_busy": usage.server_busy, "load_busy": load}
        self.sample.figures |= {"generator_busy": usage.generator_busy}
        if load > BOTTLENECK > usage.server_busy:
            self.sample.faults.append(
                f"the generator was the bottleneck: it and Redis used {load:.0%} of their cores, "
                f"the server {usage.server_busy:.0%}"
            )


def measure(stage: Stage, scenario: Scenario, subject: str) -> Sample:
    """Measure one subject once."""
    sample = Sample()
    processes = len(stage.cores.load)
    with server_running(stage, subject) as server, fleet(stage.cores.load, processes) as load:
        bench = Bench(stage, scenario, server, load, sample)
        try:
            _KINDS[scenario.kind](bench)
        finally:
            for publisher in bench.publishers.values():
                publisher.close()
    return sample


def _measure_connect(bench: Bench) -> None:
    """Connects, then idle memory, then whether each client is really there."""
    scenario, pids = bench.scenario, bench.server.pids
    _warm(bench)
    rss, meter = rss_bytes(pids), bench.meter()
    connected = _connect(bench, _requests(scenario))
    usage = meter.read()
    bench.usage(usage)
    wait_quiet(pids)
    server_s = meter.read().server_s
    time.sleep(SETTLE_S)
    figures = bench.sample.figures
    figures |= {
        "accepted": connected.accepted,
        "refused": scenario.clients - connected.accepted,
        "cpu_us": server_s / max(connected.accepted, 1) * 1e6,
        "wall_s": usage.wall_s,
    }
    if scenario.in_flight:  # in a storm the memory of all that waits at once is not what an idle connection takes
        figures["idle_kib"] = (rss_bytes(pids) - rss) / 1024 / max(connected.accepted, 1)
    _check_present(bench)


def _measure_burst(bench: Bench) -> None:
    """As many deliveries a second as the server makes when publications come faster than it sends."""
    scenario, sample = bench.scenario, bench.sample
    _connect_all(bench)
    _check_present(bench)
    wait_quiet(bench.server.pids)
    publisher = bench.publisher(_channel(0))
    usages: list[Usage] = []
    rates: list[float] = []
    spent_s, arrived, received = 0.0, 0, Received()
    while spent_s < BURSTS_S and len(rates) < BURSTS_MAX:
        bench.fleet.expect(scenario.messages)
        meter = bench.meter()
        start = publisher.publish(scenario.messages)
        received = bench.fleet.collect(scenario.deadline_s)
        usages.append(meter.read())
        took_s = (received.done_ns - start) / 1e9
        spent_s += took_s
        rates.append(received.frames / took_s)
        arrived += received.frames
        _note(bench, received)
        if received.frames < received.expected:
            sample.notes.append(
                f"cut after {scenario.deadline_s:g} s: {received.frames:,} of {received.expected:,} had arrived"
            )
            break
    bench.usage(usage_sum(usages))
    sample.figures |= {
        "per_s": statistics.median(rates),
        "cpu_us": sum(usage.server_s for usage in usages) / max(arrived, 1) * 1e6,
        "missing": received.expected - received.frames,
        "bursts": len(rates),
    }


def _measure_steady(bench: Bench) -> None:
    """Latency and CPU per delivery at a rate that the server can hold."""
    scenario = bench.scenario
    _connect_all(bench)
    _check_present(bench)
    wait_quiet(bench.server.pids)
    count = round(scenario.rate_hz * scenario.duration_s)
    publisher = bench.publisher(_channel(0))
    bench.fleet.expect(count)
    meter, start = bench.meter(), time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, start + number / scenario.rate_hz - time.monotonic()))
        publisher.publish()
    received = bench.fleet.collect(scenario.deadline_s)
    usage = meter.read()
    bench.usage(usage)
    _note(bench, received)
    latencies = sorted(received.latencies_ns)
    bench.sample.figures |= {
        "p50_ms": _percentile(latencies, 0.5) / 1e6,
        "p99_ms": _percentile(latencies, 0.99) / 1e6,
        "cpu_us": usage.server_s / max(received.frames, 1) * 1e6,
        "missing": received.expected - received.frames,
    }


def _measure_echo(bench: Bench) -> None:
    """Round trips a second through a consumer's ``receive`` and ``send``."""
    scenario = bench.scenario
    _connect_all(bench)
    text = json.dumps({"text": "x" * 80}).encode()
    bench.fleet.echo(Echo(text, 0.5))
    meter = bench.meter()
    echoed = bench.fleet.echo(Echo(text, scenario.duration_s))
    usage = meter.read()
    bench.usage(usage)
    bench.sample.figures |= {
        "per_s": echoed.round_trips / echoed.wall_s,
        "cpu_us": usage.server_s / max(echoed.round_trips, 1) * 1e6,
    }


def _measure_publish(bench: Bench) -> None:
    """Publishes by HTTP over keep-alive connections, and what they leave in Redis."""
    scenario = bench.scenario
    body = json.dumps({"data": {"id": 123_456, "text": "x" * 80, "tags": [1, 2, 3]}}).encode()
    head = [
        f"POST /api/v1/channels/{_channel(0)}/publications HTTP/1.1",
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
    bench.usage(usage)
    good = posted.statuses.get(202, 0)
    bench.sample.figures |= {
        "per_s": good / posted.wall_s,
        "cpu_us": usage.server_s / max(good, 1) * 1e6,
        "errors": sum(posted.statuses.values()) - good,
        "redis_before": before,
        "redis_growth": _redis_connections(bench.stage) - before,
    }


_KINDS: Final[dict[Kind, Callable[[Bench], None]]] = {
    "connect": _measure_connect,
    "burst": _measure_burst,
    "steady": _measure_steady,
    "echo": _measure_echo,
    "publish": _measure_publish,
}


def _channel(number: int) -> str:
    return f"bench:room-{number}"


def _requests(scenario: Scenario) -> list[bytes]:
    members = scenario.channel_members
    return [handshake(_channel(index // members), f"user-{index}") for index in range(scenario.clients)]


def _connect(bench: Bench, requests: list[bytes], in_flight: int | None = None) -> Connected:
    scenario = bench.scenario
    return bench.fleet.connect(
        Connect(
            port=bench.server.port,
            requests=requests,
            in_flight=scenario.in_flight if in_flight is None else in_flight,
            deadline_s=scenario.deadline_s,
            timed_every=scenario.timed_every,
            kind="echo" if scenario.kind == "echo" else "count",
        )
    )


def _warm(bench: Bench) -> None:
    connected = _connect(bench, [handshake(_channel(0), "warm")] * WARM_CLIENTS, in_flight=8)
    bench.fleet.close_all()
    if connected.refused:
        raise MeasurementFailed(f"{bench.server.subject.title} refused its first clients: {connected.refused}")
    wait_quiet(bench.server.pids)


def _connect_all(bench: Bench) -> None:
    _warm(bench)
    connected = _connect(bench, _requests(bench.scenario))
    if connected.refused:
        raise MeasurementFailed(f"{bench.server.subject.title} refused clients: {connected.refused}")
    wait_quiet(bench.server.pids)


def _check_present(bench: Bench) -> None:
    """One publication per channel must reach every client that was accepted."""
    scenario = bench.scenario
    bench.fleet.expect(1)
    for number in range(-(-scenario.clients // scenario.channel_members)):
        bench.publisher(_channel(number)).publish()
    received = bench.fleet.collect(scenario.deadline_s)
    if missing := received.expected - received.frames:
        text = f"{missing:,} of {received.expected:,} accepted clients did not get a publication"
        (bench.sample.notes if received.lost >= missing else bench.sample.faults).append(text)


def _note(bench: Bench, received: Received) -> None:
    bench.sample.faults += received.faults
    if received.lost:
        bench.sample.notes.append(f"{received.lost:,} connections were lost")


def _redis_connections(stage: Stage) -> int:
    with stage.redis.client() as client:
        return int(client.info("clients")["connected_clients"])


def _percentile(ordered: list[int], share: float) -> float:
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * share))]) if ordered else float("nan")
