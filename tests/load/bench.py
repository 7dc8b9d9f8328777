"""One measurement under way: a running server, the generator, and what they gave so far."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from tests.load.dialogues import JOINTS, Dialect, dialogue, request
from tests.load.generator.fleet import Fleet
from tests.load.generator.orders import ClientKind, Connect, Connected, Dialogue, Received
from tests.load.processes import Meter, Usage, cpu_s, rss_bytes, wait_quiet
from tests.load.publishing import SOCKETIO_ALL, Publisher, publisher_open
from tests.load.scenarios import Scenario
from tests.load.stage import Stage
from tests.load.subjects import Server

WARM_CLIENTS: Final = 50
"""Connected and dropped before anything is measured, so that no first-time import counts."""

BOTTLENECK: Final = 0.95
"""A generator that used so much of its cores while the server did not was what limited the figure."""


LOOK_S: Final = 1.0
IDLE_BUSY: Final = 0.05
"""A server that sent nothing for ``LOOK_S``, and used less of its core, has nothing more to send."""


class MeasurementFailed(Exception):
    """A server refused clients that it must hold."""


@dataclass(frozen=True)
class Point:
    """A place on a curve.

    Attributes:
        x: the room's size, or the deliveries a second that were offered.
        is_whole: nothing was missing; else the server was cut, or dropped some.
    """

    x: int
    per_s: float
    p99_ms: float
    is_whole: bool


@dataclass
class Sample:
    """What one measurement of one subject gave.

    Attributes:
        figures: name → number; ``report.FIGURES`` says what each is.
        points: of a curve.
        floors: names of figures that would be higher if the generator were faster.
        notes: what a reader of the numbers must know.
        faults: why they are not to be trusted.
    """

    figures: dict[str, float] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    floors: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass
class Bench:
    """What a measurement works with."""

    stage: Stage
    scenario: Scenario
    server: Server
    fleet: Fleet
    sample: Sample = field(default_factory=Sample)

    def channel(self, number: int = 0) -> str:
        """The scenario's channels by number; most have one. Socket.IO sends to all, unless each client has its own."""
        if self.dialect == "socketio" and self._members > 1:
            return SOCKETIO_ALL
        return f"{self.scenario.namespace}{self.server.subject.separator}room-{number:05}"

    @property
    def channels(self) -> list[str]:
        """All of them, once."""
        return list(dict.fromkeys(self.channel(n) for n in range(-(-self.scenario.clients // self._members))))

    @property
    def dialect(self) -> Dialect:
        """What the server's clients speak."""
        return self.server.subject.dialect

    @property
    def _members(self) -> int:
        return self.scenario.channel_members

    @cached_property
    def publisher(self) -> Publisher:
        """Publishes to this server; a channel's numbers go on from one use to the next."""
        stage = self.stage
        return publisher_open(self.server.subject.door, stage.redis.port, self.server.port, stage.config)

    def close(self) -> None:
        """Close what was opened."""
        if "publisher" in self.__dict__:
            self.publisher.close()

    def meter(self) -> Meter:
        """Read CPU clocks from now on."""
        return Meter(self.server.pids, self.fleet.pids, [self.stage.redis_pid], self.stage.cores.server)

    def note_usage(self, usage: Usage, rates: tuple[str, ...] = ()) -> None:
        """Note how busy both sides were, and whether the generator was the bottleneck.

        Args:
            rates: figures to come that would only be higher without it; of ours they stay true as "at least", whereas
                a peer's would flatter us. Without any the run fails.
        """
        load = usage.load_busy(len(self.stage.cores.load))
        self.sample.figures |= {"server_busy": usage.server_busy, "load_busy": load}
        self.sample.figures["others_busy"] = usage.others_busy
        if load > BOTTLENECK > usage.server_busy:
            text = (
                f"the generator was the bottleneck: it and Redis used {load:.0%} of their cores, "
                f"the server {usage.server_busy:.0%} of its own"
            )
            if rates and self.server.subject.is_ours:
                self.sample.floors.update(rates)
                self.sample.notes.append(f"at least this rate: {text}")
            elif self.server.subject.door == "core":  # no target compares with it
                self.sample.notes.append(f"{text}: what `group_send` costs its caller")
            else:
                self.sample.faults.append(text)

    def note_received(self, received: Received) -> None:
        """Note what was wrong with what arrived."""
        self.sample.faults += received.faults
        if received.skipped:
            lacking = f"{received.skipped:,} publications were skipped at the clients that look into each frame"
            self._note_wrong(lacking)
        if received.lost:
            self.sample.notes.append(f"{received.lost:,} connections were lost")

    def _note_wrong(self, text: str) -> None:
        """Of ours it fails the run; of a peer it is what it does."""
        (self.sample.faults if self.server.subject.is_ours else self.sample.notes).append(text)

    def warm(self) -> None:
        """Let a few clients come and go.

        Raises:
            MeasurementFailed: one was refused.
        """
        connected = self._connect([(self.channel(), "warm")] * WARM_CLIENTS, in_flight=8)
        self.fleet.close_all()
        self.check_accepted(connected)

    def clients(self) -> list[tuple[str, str]]:
        """Channel and user of each of the scenario's clients."""
        return [(self.channel(index // self._members), f"user-{index}") for index in range(self.scenario.clients)]

    def connect(self) -> Connected:
        """Connect the scenario's clients; some may be refused."""
        return self._connect(self.clients(), self.scenario.in_flight)

    def connect_more(self, count: int) -> Connected:
        """Connect more clients to the one channel."""
        return self.connect_to([self.channel()] * count)

    def connect_to(self, channels: list[str]) -> Connected:
        """Connect a client to each of these channels."""
        return self._connect([(channel, f"user-{n}") for n, channel in enumerate(channels)], self.scenario.in_flight)

    def rss_settled(self) -> int:
        """The server's resident bytes, once it is quiet and some time has gone."""
        wait_quiet(self.server.pids)
        time.sleep(self.scenario.settle_s)
        return rss_bytes(self.server.pids)

    def publish_paced(self, count: int, rate_hz: float, start_ns: int) -> None:
        """Publish to the channel at a rate; give up when it is later than the scenario's deadline."""
        channel = self.channel()
        for number in range(count):
            due_s = start_ns / 1e9 + number / rate_hz
            late_s = time.monotonic() - due_s
            if late_s > self.scenario.deadline_s:
                return
            time.sleep(max(0.0, -late_s))
            self.publisher.post(channel)

    def fill(self) -> None:
        """Connect the scenario's clients and make sure that each receives.

        Raises:
            MeasurementFailed: one was refused.
        """
        self.warm()
        self.check_accepted(self.connect())
        if self.scenario.kind != "echo":
            self.check_present(self.scenario.clients)
        wait_quiet(self.server.pids)

    def check_present(self, accepted: int) -> None:
        """One publication per channel must reach every client that was accepted."""
        self.fleet.expect(1)
        self.publisher.publish_to(self.channels)
        received = self.fleet.collect(self.scenario.connect_s)
        if lost := accepted - received.expected + received.lost:
            self.sample.notes.append(f"{lost:,} of {accepted:,} accepted clients were cut again")
        if missing := received.expected - received.frames - received.lost:
            text = f"{missing:,} of {accepted:,} accepted clients did not get a first publication"
            self._note_wrong(text)

    def collect(self, start_ns: int) -> Received:
        """Wait for what is expected: until the scenario's deadline, or until the server has nothing more to send.

        Args:
            start_ns: ``time.monotonic_ns`` from which the deadline counts.
        """
        end, before = start_ns / 1e9 + self.scenario.deadline_s, -1
        while True:
            cpu, start = cpu_s(self.server.pids), time.monotonic()
            received = self.fleet.collect(max(0.0, min(LOOK_S, end - start)))
            looked_s = time.monotonic() - start
            is_idle = looked_s >= LOOK_S / 2 and cpu_s(self.server.pids) - cpu < IDLE_BUSY * looked_s
            is_over = time.monotonic() >= end
            if received.frames >= received.expected or is_over or (is_idle and received.frames == before):
                self._note_end(received, is_over=is_over)
                return received
            before = received.frames

    def _note_end(self, received: Received, *, is_over: bool) -> None:
        missing = received.expected - received.frames
        if missing > 0:
            end = f"cut after {self.scenario.deadline_s:g} s" if is_over else "the rest was dropped"
            self.sample.notes.append(f"{received.frames:,} of {received.expected:,} arrived, {end}")

    def _connect(self, clients: list[tuple[str, str]], in_flight: int) -> Connected:
        """Connect clients, each to a channel as a user."""
        requests = [request(self.dialect, channel, user) for channel, user in clients]
        said = [dialogue(self.dialect, channel, user) for channel, user in clients]
        return self.talk_to(requests, [one for one in said if one is not None], in_flight)

    def talk_to(
        self, requests: list[bytes], dialogues: list[Dialogue], in_flight: int, *, is_mute: bool = False
    ) -> Connected:
        """Connect clients that have something to say after their handshake; without dialogues they only count."""
        kind: ClientKind = "talk" if dialogues else "echo" if self.scenario.kind == "echo" else "count"
        if self.dialect in {"sse", "http-stream"}:
            kind = "stream"
        return self.fleet.connect(
            Connect(
                port=self.server.port,
                requests=requests,
                in_flight=in_flight,
                deadline_s=self.scenario.connect_s,
                timed_every=self.scenario.timed_every,
                kind=kind,
                dialogues=dialogues,
                joint=JOINTS.get(self.dialect),
                is_mute=is_mute,
            )
        )

    def check_accepted(self, connected: Connected) -> None:
        """Every one of them must be there.

        Raises:
            MeasurementFailed: some are not.
        """
        if connected.refused:
            raise MeasurementFailed(f"{self.server.subject.title} refused clients: {connected.refused}")
        wait_quiet(self.server.pids)
