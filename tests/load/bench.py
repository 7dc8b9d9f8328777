"""One measurement under way: a running server, the generator, and what they gave so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tests.load.dialogues import Dialect, dialogue, request
from tests.load.generator.fleet import Fleet
from tests.load.generator.orders import ClientKind, Connect, Connected, Dialogue, Received
from tests.load.processes import Meter, Usage, wait_quiet
from tests.load.publishing import Publisher
from tests.load.scenarios import Scenario
from tests.load.stage import Stage
from tests.load.subjects import Server

WARM_CLIENTS: Final = 50
"""Connected and dropped before anything is measured, so that no first-time import counts."""

BOTTLENECK: Final = 0.95
"""A generator that used so much of its cores while the server did not was what limited the figure."""


class MeasurementFailed(Exception):
    """A server refused clients that it must hold."""


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


@dataclass
class Bench:
    """What a measurement works with."""

    stage: Stage
    scenario: Scenario
    server: Server
    fleet: Fleet
    sample: Sample = field(default_factory=Sample)
    _publishers: dict[str, Publisher] = field(default_factory=dict)

    def channel(self, number: int = 0) -> str:
        """The scenario's channels by number; most have one."""
        return f"{self.scenario.namespace}:room-{number:05}"

    @property
    def channels(self) -> list[str]:
        """All of them; a Socket.IO server has one for all clients."""
        is_one = self.dialect == "socketio"
        return [self.channel(n) for n in range(1 if is_one else -(-self.scenario.clients // self._members))]

    @property
    def dialect(self) -> Dialect:
        """What the server's clients speak."""
        return self.server.subject.dialect

    @property
    def _members(self) -> int:
        return self.scenario.channel_members

    def publisher(self, channel: str) -> Publisher:
        """The one that publishes to a channel: its numbers go on from one use to the next."""
        if channel not in self._publishers:
            stage = self.stage
            self._publishers[channel] = Publisher(stage.redis.port, channel, stage.config, dialect=self.dialect)
        return self._publishers[channel]

    def close(self) -> None:
        """Close what was opened."""
        for publisher in self._publishers.values():
            publisher.close()

    def meter(self) -> Meter:
        """Read CPU clocks from now on."""
        return Meter(self.server.pids, self.fleet.pids, [self.stage.redis_pid], self.stage.cores.server)

    def note_usage(self, usage: Usage) -> None:
        """Note how busy both sides were, and whether the generator was the bottleneck."""
        load = usage.load_busy(len(self.stage.cores.load))
        self.sample.figures |= {"server_busy": usage.server_busy, "load_busy": load}
        self.sample.figures["others_busy"] = usage.others_busy
        if load > BOTTLENECK > usage.server_busy:
            self.sample.faults.append(
                f"the generator was the bottleneck: it and Redis used {load:.0%} of their cores, "
                f"the server {usage.server_busy:.0%} of its own"
            )

    def note_received(self, received: Received) -> None:
        """Note what was wrong with what arrived."""
        self.sample.faults += received.faults
        if received.lost:
            self.sample.notes.append(f"{received.lost:,} connections were lost")

    def warm(self) -> None:
        """Let a few clients come and go.

        Raises:
            MeasurementFailed: one was refused.
        """
        connected = self._connect([(self.channel(), "warm")] * WARM_CLIENTS, in_flight=8)
        self.fleet.close_all()
        self.check_accepted(connected)

    def connect(self) -> Connected:
        """Connect the scenario's clients; some may be refused."""
        clients = range(self.scenario.clients)
        return self._connect(
            [(self.channel(index // self._members), f"user-{index}") for index in clients], self.scenario.in_flight
        )

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
        for channel in self.channels:
            self.publisher(channel).publish()
        received = self.fleet.collect(self.scenario.deadline_s)
        if lost := accepted - received.expected + received.lost:
            self.sample.notes.append(f"{lost:,} of {accepted:,} accepted clients were cut again")
        if missing := received.expected - received.frames - received.lost:
            self.sample.faults.append(f"{missing:,} of {accepted:,} accepted clients did not get a publication")

    def _connect(self, clients: list[tuple[str, str]], in_flight: int) -> Connected:
        """Connect clients, each to a channel as a user."""
        requests = [request(self.dialect, channel, user) for channel, user in clients]
        said = [dialogue(self.dialect, channel, user) for channel, user in clients]
        return self.talk_to(requests, [one for one in said if one is not None], in_flight)

    def talk_to(self, requests: list[bytes], dialogues: list[Dialogue], in_flight: int) -> Connected:
        """Connect clients that have something to say after their handshake; without dialogues they only count."""
        kind: ClientKind = "echo" if self.scenario.kind == "echo" else "talk" if dialogues else "count"
        return self.fleet.connect(
            Connect(
                port=self.server.port,
                requests=requests,
                in_flight=in_flight,
                deadline_s=self.scenario.deadline_s,
                timed_every=self.scenario.timed_every,
                kind=kind,
                dialogues=dialogues,
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
