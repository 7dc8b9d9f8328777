"""How channels with history and the client protocol are measured; see ``measurements``."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import time
from typing import Final

from clarion.publications import publication
from clarion.redis_commands import RedisCommands, published_of
from clarion.streams import Position
from tests.load import dialogues
from tests.load.bench import Bench, MeasurementFailed, Sample
from tests.load.generator.orders import Talk
from tests.load.processes import on_cores, rss_bytes
from tests.load.publishing import PREFIX
from tests.load.stage import ROOT, Stage
from tests.load.subjects import SUBJECTS

RECOVERIES: Final = 5
"""Each of a channel of its own, so that none finds what another one had read."""

PROGRAM_DEADLINE_S: Final = 120


def measure_cost(stage: Stage, subject: str) -> Sample:
    """What a publish to a channel with history costs its publisher, beside a plain one."""
    command = [*SUBJECTS[subject].command(0, stage.folder), stage.redis.url, stage.env["CLARION_CONFIG"]]
    with on_cores(stage.cores.server):
        done = subprocess.run(
            command, cwd=ROOT, env=stage.env, capture_output=True, text=True, timeout=PROGRAM_DEADLINE_S, check=False
        )
    if done.returncode:
        raise MeasurementFailed(f"{subject} failed: {done.stderr[-1000:]}")
    return Sample(figures=json.loads(done.stdout))


def measure_subscriptions(bench: Bench) -> None:
    """What an idle subscription takes in the gateway: the growth from one to some more on each connection."""
    scenario, pids = bench.scenario, bench.server.pids
    bench.fill()
    time.sleep(scenario.settle_s)
    before = rss_bytes(pids)
    meter = bench.meter()
    shared = [f"{scenario.namespace}:more-{number:05}" for number in range(scenario.more)]
    said = []
    for index in range(scenario.clients):
        own = [f"{scenario.namespace}:own-{index:05}-{number:02}" for number in range(scenario.more)]
        said.append(dialogues.subscribe_all(10, shared if scenario.is_shared else own))
    # Not all at once: what a storm takes for a moment stays with the process, and is not what an idle one takes.
    bench.check_accepted(bench.fleet.talk(Talk(said, scenario.connect_s, scenario.in_flight)))
    usage = meter.read()
    bench.note_usage(usage)
    time.sleep(scenario.settle_s)
    subscriptions = scenario.clients * scenario.more
    bench.sample.figures |= {
        "sub_kib": (rss_bytes(pids) - before) / 1024 / subscriptions,
        "cpu_us": usage.server_s / subscriptions * 1e6,
    }
    if scenario.is_shared:
        _check_all_heard(bench, shared)


def _check_all_heard(bench: Bench, channels: list[str]) -> None:
    bench.fleet.expect(len(channels))
    bench.publisher.publish_to(channels)
    received = bench.fleet.collect(bench.scenario.connect_s)
    if received.frames != received.expected:
        bench.sample.faults.append(f"{received.expected - received.frames:,} publications did not arrive")


def measure_recover(bench: Bench) -> None:
    """How long one client waits for all that it missed, when nobody else has asked for it."""
    scenario = bench.scenario
    bench.warm()
    took_ns: list[int] = []
    meter = bench.meter()
    for number in range(RECOVERIES):
        channel = bench.channel(number)
        top = _publish(bench.stage, channel, scenario.messages)
        step = dialogues.recover(2, channel, top.offset - scenario.messages, top.epoch, scenario.messages)
        said = dialogues.protocol("user", [step])
        request = dialogues.request("protocol", channel, "user")
        connected = bench.talk_to([request], [said], in_flight=1)
        bench.check_accepted(connected)
        took_ns += connected.answers_ns
        bench.fleet.close_all()
    bench.note_usage(meter.read())
    bench.sample.figures |= {
        "recover_ms": statistics.median(took_ns) / 1e6,
        "recover_worst_ms": max(took_ns) / 1e6,
    }


def measure_reconnect(bench: Bench) -> None:
    """Clients that come back all at once, and recover: until the last one has everything."""
    scenario = bench.scenario
    bench.warm()
    tops = {channel: _publish(bench.stage, channel, 2 * scenario.messages) for channel in bench.channels}
    requests, said = [], []
    for index in range(scenario.clients):
        channel = bench.channel(index // scenario.channel_members)
        top = tops[channel]
        step = dialogues.recover(2, channel, top.offset - scenario.messages, top.epoch, scenario.messages)
        requests.append(dialogues.request("protocol", channel, f"user-{index}"))
        said.append(dialogues.protocol(f"user-{index}", [step]))
    reads, meter = _stream_reads(bench.stage), bench.meter()
    connected = bench.talk_to(requests, said, in_flight=0)
    usage = meter.read()
    bench.note_usage(usage)
    bench.check_accepted(connected)
    waited = sorted(connected.answers_ns)
    bench.sample.figures |= {
        "accepted": connected.accepted,
        "seconds": connected.wall_s,
        "cpu_us": usage.server_s / connected.accepted * 1e6 if connected.accepted else math.nan,
        "reads": _stream_reads(bench.stage) - reads,
        "p50_ms": waited[len(waited) // 2] / 1e6,
        "p99_ms": waited[len(waited) * 99 // 100] / 1e6,
    }
    bench.check_present(connected.accepted)


def _publish(stage: Stage, channel: str, count: int) -> Position:
    """Fill a channel with history; return its top."""
    commands = RedisCommands(prefix=PREFIX, shards=1, config=stage.config)
    messages = [publication({"n": number, "p": "x" * 120}) for number in range(count)]
    with stage.redis.client() as client:
        client.execute_command(*commands.publish(channel, messages[0]).full)  # Redis learns the script
        with client.pipeline(transaction=False) as together:
            for message in messages[1:]:
                together.execute_command(*commands.publish(channel, message).short)
            answers = together.execute()
    top = published_of(channel, "", answers[-1])
    return Position(top.offset, top.epoch)


def _stream_reads(stage: Stage) -> int:
    """How often publications were read from a stream so far; one read looks at the stream twice."""
    with stage.redis.client() as client:
        return int(client.info("commandstats").get("cmdstat_xrange", {}).get("calls", 0)) // 2
