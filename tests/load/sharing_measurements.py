"""How it is measured what a publish costs whoever carries it: by the room's size, and by the number of gateways."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from clarion.publisher import Publisher
from tests.load.bench import Bench, MeasurementFailed, Sample
from tests.load.generator.fleet import fleet
from tests.load.processes import cpu_s, wait_quiet
from tests.load.scenarios import Scenario
from tests.load.stage import Stage
from tests.load.subjects import server_running

FEW = 10


class Cost(NamedTuple):
    """CPU microseconds of one publish."""

    publisher_us: float
    redis_us: float


def measure_reach(bench: Bench) -> None:
    """A publish to few members and to many, block by block in turn: neither publisher nor Redis may know of them."""
    scenario = bench.scenario
    few, many = bench.channel(0), bench.channel(1)
    bench.warm()
    bench.check_accepted(bench.connect_to([few] * FEW + [many] * scenario.clients))
    publisher = Publisher([bench.stage.redis.url], config=bench.stage.config)
    pairs: list[tuple[Cost, Cost]] = []
    _block(bench, publisher, few), _block(bench, publisher, many)  # opens what is opened on first use
    end = time.monotonic() + scenario.duration_s
    while time.monotonic() < end:
        pairs.append((_block(bench, publisher, few), _block(bench, publisher, many)))
    publisher.close()
    bench.sample.figures |= {
        "publisher_few_us": statistics.median(few.publisher_us for few, _ in pairs),
        "publisher_many_us": statistics.median(many.publisher_us for _, many in pairs),
        "publisher_ratio": statistics.median(many.publisher_us / few.publisher_us for few, many in pairs),
        "redis_few_us": statistics.median(few.redis_us for few, _ in pairs),
        "redis_many_us": statistics.median(many.redis_us for _, many in pairs),
        "redis_ratio": statistics.median(many.redis_us / few.redis_us for few, many in pairs),
    }


def _block(bench: Bench, publisher: Publisher, channel: str) -> Cost:
    """Publish one after the other, then wait until all is delivered."""
    count = bench.scenario.messages
    is_few = channel == bench.channel(0)
    bench.fleet.expect_by_client([count * is_few] * FEW + [count * (not is_few)] * bench.scenario.clients)
    redis_s, publisher_s = cpu_s([bench.stage.redis_pid]), time.process_time()
    for data in [bench.publisher.data(channel) for _ in range(count)]:
        publisher.publish(channel, data)
    cost = Cost(
        (time.process_time() - publisher_s) / count * 1e6, (cpu_s([bench.stage.redis_pid]) - redis_s) / count * 1e6
    )
    received = bench.collect(time.monotonic_ns())
    if received.frames != received.expected:
        missing = received.expected - received.frames
        raise MeasurementFailed(f"{missing:,} deliveries of {channel} are missing, {received.lost} connections lost")
    wait_quiet(bench.server.pids)
    return cost


def measure_gateways(stage: Stage, scenario: Scenario, subject: str) -> Sample:
    """The same load on one core, shared by more and more gateways."""
    figures: dict[str, float] = {}
    sample = Sample(figures=figures)
    for count in scenario.steps:
        with _gateways(stage, scenario, subject, count) as benches:
            figures[f"cpu_{count}_us"] = _delivery_us(benches, sample)
            figures[f"redis_{count}_us"] = _publish_us(benches)
    cpu = [figures[f"cpu_{count}_us"] for count in scenario.steps]
    first, last = scenario.steps[0], scenario.steps[-1]
    grown_us = figures[f"redis_{last}_us"] - figures[f"redis_{first}_us"]
    figures |= {"spread": max(cpu) / min(cpu), "redis_growth_us": grown_us / (last - first)}
    return sample


@contextmanager
def _gateways(stage: Stage, scenario: Scenario, subject: str, count: int) -> Iterator[list[Bench]]:
    """Some gateways, each with its share of the clients and with few members of a second channel."""
    with ExitStack() as opened:
        load = opened.enter_context(fleet(stage.cores.load, len(stage.cores.load)))
        benches = [
            Bench(stage, scenario, opened.enter_context(server_running(stage, subject)), load) for _ in range(count)
        ]
        opened.callback(benches[0].close)
        for bench in benches:
            bench.warm()
        for bench in benches:
            share = scenario.clients // count
            bench.check_accepted(bench.connect_to([bench.channel(0)] * share + [bench.channel(1)] * FEW))
        yield benches


def _delivery_us(benches: list[Bench], sample: Sample) -> float:
    bench, scenario = benches[0], benches[0].scenario
    _expect(benches, 1)
    bench.publisher.publish_to([bench.channel(0)])  # each client learns the size of a publication
    bench.collect(time.monotonic_ns())
    _wait_quiet(benches)
    count = round(scenario.rate_hz * scenario.duration_s)
    _expect(benches, count)
    servers = [pid for each in benches for pid in each.server.pids]
    before, start_ns = cpu_s(servers), time.monotonic_ns()
    bench.publish_paced(count, scenario.rate_hz, start_ns)
    received = bench.collect(start_ns)
    used_s = cpu_s(servers) - before
    sample.faults += received.faults
    if received.frames != received.expected:
        raise MeasurementFailed(
            f"{received.expected - received.frames:,} deliveries of {len(benches)} gateways missing"
        )
    bench.publisher.settle()
    return used_s / received.frames * 1e6


def _publish_us(benches: list[Bench]) -> float:
    """Redis's CPU for one publish to the channel of few, each when the last one was taken."""
    bench = benches[0]
    channel, count = bench.channel(1), bench.scenario.messages
    _wait_quiet(benches)
    ready = [one for _ in range(count) for one in bench.publisher.make([channel])]
    before = cpu_s([bench.stage.redis_pid])
    bench.publisher.send(ready)
    return (cpu_s([bench.stage.redis_pid]) - before) / count * 1e6


def _expect(benches: list[Bench], count: int) -> None:
    """So many at each client of the first channel; none at those of the second."""
    share = benches[0].scenario.clients // len(benches)
    benches[0].fleet.expect_by_client(*[[count] * share + [0] * FEW for _ in benches])


def _wait_quiet(benches: list[Bench]) -> None:
    for bench in benches:
        wait_quiet(bench.server.pids)
