"""The fan-out: from one read of Redis to the sockets of all members. The hot path, all of it.

A delivery to one more member costs one ``send(2)`` (about 5.5 µs on loopback) and 0.04 µs of Python. What makes that:

- *Once per process*: a message is decoded once, encoded and framed once per wire in use; every member is written the
  same ``bytes``. ``write`` is the connection's own bound method: nothing stands between this loop and the socket.
  Whether it sends at once, queues behind what waits, or goes through TLS, is the writer's matter
  (``clarion.server.writer``).
- *Adaptive batching*: all messages of one read are one write per member. While members are being written to, what comes
  waits, and follows in one write again. Under load a delivery becomes cheaper; when idle nothing waits.
- *Turns*: one turn of the event loop writes for about 2 ms, whatever the number of channels and members; the rest is
  written in later turns, channel by channel in rotation. A room of 10,000 holds up no ping, no join, no other room.
- *Order*: a channel has one job at a time, and what comes meanwhile goes behind it, so each member sees each channel in
  order. The member list of a round is a copy: who leaves meanwhile gets nothing more of it, who joins starts behind it
  (its position says so).

Everything runs on one event loop. Source: ADR-0002, ADR-0009.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final

import structlog

from clarion.histograms import LAG_S, Histogram
from clarion.publications import Message, Publication
from clarion.subscriber import Messages
from ws_gateway.events import Event, event_of, has_json
from ws_gateway.groups import Group, Round
from ws_gateway.recovery import Stream
from ws_gateway.unkept import Unkept

log = structlog.stdlib.get_logger("ws_gateway.fanout")

WRITE_COST: Final = 32 * 1024
"""What one ``send(2)`` costs beside its bytes, in bytes: 6 to 9 µs for 150 bytes, 19 µs for 64 KiB, 34 to 39 µs for
128 KiB, and a multiple of that where the receiver's buffer runs full."""

TURN_COST: Final = 256 * WRITE_COST
"""What is written in one turn of the event loop: 256 small frames in 2.5 ms, or 52 of 128 KiB in 1.6 ms; 99 in 100
turns in less than 6 ms."""

BATCH_BYTES: Final = 128 * 1024
"""About how much is joined into one write: 1 MiB would be a slow reader's whole queue, and to encode it takes time."""

WAITING_MAX_BYTES: Final = 64 * 1024 * 1024
"""Messages that may wait for channels whose members are being written to; over it the process stops reading Redis."""

GROUP_WAITING_MAX_BYTES: Final = 4 * 1024 * 1024
"""The same of one channel with history; over it they are forgotten and read from the stream when it is their turn."""


BATCH_MESSAGES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)
"""Bounds of the histogram of what is joined into one write."""


class _Job:
    """What is being written to a channel's members: rounds, and the place where to go on.

    Attributes:
        began: when the oldest message of the rounds was read.
    """

    __slots__ = ("began", "group", "number", "rounds", "start")

    def __init__(self, group: Group, rounds: list[Round], began: float) -> None:
        self.group = group
        self.rounds = rounds
        self.began = began
        self.number = 0
        self.start = 0


class Fanout:
    """Delivers to the members of a process's groups.

    Args:
        groups: the hub's groups, by their Redis name; looked at, not changed.
        decode: bytes of a layer message → the message (the channel layer's ``deserialize``).
        heal: called when a group's stream is to be read, because an offset was skipped or waiting messages forgotten.
        give_up: called when a group's events could not be delivered: a defect; who counts offsets must start anew.
        set_reading: called with False when too much waits, and with True when Redis may be read again.

    Attributes:
        listeners: who hears Redis channels that are no group's.
        undecodable: messages that were none of a channel layer's.
        unkept: messages without an offset on channels with history.
        deliveries: messages times members, of what has been written. writes, written_bytes: what they took.
        batches: messages of one channel that were joined. lag: from a read to its last write, in seconds.
    """

    def __init__(
        self,
        groups: dict[bytes, Group],
        *,
        decode: Callable[[bytes], Message],
        heal: Callable[[Group], None],
        give_up: Callable[[Group], None],
        set_reading: Callable[[bool], None],
    ) -> None:
        self._groups = groups
        self._decode = decode
        self._heal = heal
        self._give_up = give_up
        self._set_reading = set_reading
        self._jobs: deque[_Job] = deque()
        self._left = TURN_COST  # of this turn
        self._waiting_bytes = 0
        self._is_reading = True
        self.listeners: dict[bytes, Callable[[bytes], None]] = {}
        self.undecodable = 0
        self.unkept = Unkept()
        # Counted once a channel and batch, timed once a read: nothing of it is done per member.
        self.deliveries = self.writes = self.written_bytes = 0
        self.batches = Histogram(BATCH_MESSAGES)
        self.lag = Histogram(LAG_S)
        self._read_at = 0.0  # of the read that is being dispatched
        self._since: dict[Group, float] = {}  # when the oldest message that waits was read

    # From Redis

    def dispatch(self, messages: Messages) -> None:
        """Deliver all messages of one read: once a read, then once a channel."""
        if not self._jobs:
            self._left = TURN_COST
        self._read_at, left = perf_counter(), self._left
        groups = self._groups
        for name, payloads in messages.items():
            group = groups.get(name)
            if group is None:  # left between Redis's send and our read, or no group's name
                for payload in payloads if name in self.listeners else ():
                    self.listeners[name](payload)
                continue
            events = self._events(payloads)
            if group.stream is not None:
                events = self._admit(group, group.stream, events)
            if events:
                self.deliver(group, events, sum(map(len, payloads)))
        if self._left != left:  # else all of it waits, and is timed when it is written
            self.lag.observe(perf_counter() - self._read_at)
        self._read_at = 0.0

    def _events(self, payloads: list[bytes]) -> list[Event]:
        events: list[Event] = []
        for payload in payloads:
            try:
                events.append(event_of(self._decode(payload)))
            except Exception as exc:  # noqa: BLE001 - any service may publish anything; it must not end the hub
                self.undecodable += 1
                log.warning("message.undecodable", error=type(exc).__name__, count=self.undecodable)
        return events

    def _admit(self, group: Group, stream: Stream, events: list[Event]) -> list[Event]:
        self.unkept.note(group.channel, events)
        was_healing = stream.is_healing
        events = stream.admit(events)
        if stream.is_healing and not was_healing:
            self._heal(group)
        return events

    # To the members

    def deliver(self, group: Group, events: list[Event], size: int) -> None:
        """Write events to all members of a group, behind what is being written to them.

        Args:
            size: about how many bytes the events hold.
        """
        if group.writing:
            self._wait(group, events, size)
            return
        later: list[Event] = []
        if size > BATCH_BYTES:
            events, later = _split(events, size)
        rounds = self._rounds(group, events)
        cost = 0
        for frames, members in rounds:
            cost += len(members) * (WRITE_COST + len(frames))
        if cost <= self._left and not later:
            self._left -= cost
            for frames, members in rounds:
                for _, write in members:
                    write(frames)
            return
        group.writing = True
        self._jobs.append(_Job(group, rounds, self._read_at or perf_counter()))
        if later:
            self._wait(group, later, size * len(later) // (len(events) + len(later)))
        if len(self._jobs) == 1:
            self._write()

    def _rounds(self, group: Group, events: list[Event]) -> list[Round]:
        stream = group.stream
        if stream is not None:
            for event in reversed(events):
                if type(event) is Publication and event.offset and event.epoch == stream.epoch:
                    stream.set_delivered(event.offset)
                    break
        group.left = None
        try:
            rounds = group.rounds(events)
        except Exception as exc:  # noqa: BLE001 - the same: a stock service's message may hold what is not JSON
            rounds = self._rounds_of_some(group, events, exc)
        self._count(rounds, len(events))
        return rounds

    def _count(self, rounds: list[Round], messages: int) -> None:
        self.batches.observe(messages)
        for frames, members in rounds:
            self.writes += len(members)
            self.deliveries += len(members) * messages
            self.written_bytes += len(members) * len(frames)

    def _rounds_of_some(self, group: Group, events: list[Event], why: Exception) -> list[Round]:
        """Leave out what has no JSON form; if that was not the cause, it is a defect."""
        good = [event for event in events if has_json(event)]
        self.undecodable += len(events) - len(good)
        log.warning("message.undecodable", error=type(why).__name__, count=self.undecodable)
        try:
            return group.rounds(good)
        except Exception:  # one channel's fault must not stop the others, nor the connection to Redis
            log.exception("fanout.failed", channel=group.channel)
            self._give_up(group)
            return []

    # Turn by turn

    def _turn(self) -> None:
        self._left = TURN_COST
        self._write()

    def _write(self) -> None:
        """Write for what is left of this turn, and go on in the next one."""
        jobs = self._jobs
        while jobs and self._left > 0:
            try:
                has_more = self._write_slice(jobs[0])
            except Exception:  # a defect; one channel's must not silence all others
                log.exception("fanout.failed", channel=jobs[0].group.channel)
                has_more = False
                self._drop(jobs[0].group)
            if has_more:
                jobs.rotate(-1)  # others first
            else:
                jobs.popleft()
        if jobs:
            asyncio.get_running_loop().call_soon(self._turn)

    def _write_slice(self, job: _Job) -> bool:
        """Write to some members; tell whether there is more to do."""
        if job.number == len(job.rounds):
            return self._next(job)
        frames, members = job.rounds[job.number]
        cost = WRITE_COST + len(frames)
        left = job.group.left or ()
        some = members[job.start : job.start + max(1, self._left // cost)]
        for member, write in some:
            if member not in left:  # who left in between gets nothing more; who came back has it by its position
                write(frames)
        self._left -= len(some) * cost
        job.start += len(some)
        if job.start >= len(members):
            job.number, job.start = job.number + 1, 0
        return True

    def _next(self, job: _Job) -> bool:
        """Go on with what came meanwhile; tell whether there was anything."""
        group = job.group
        if job.rounds:
            self.lag.observe(perf_counter() - job.began)
        if group.waiting is None:
            group.writing = False
            group.left = None
            if group.stream is not None and group.stream.is_healing:
                self._heal(group)
            return False
        events, size = group.waiting, group.waiting_bytes
        group.waiting = None
        if size > BATCH_BYTES:
            some, events = _split(events, size)
            group.waiting = events or None
            group.waiting_bytes = size * len(events) // (len(some) + len(events))
            events = some
        else:
            group.waiting_bytes = 0
        self._count_waiting(group.waiting_bytes - size)
        job.began = self._since[group] if group.waiting else self._since.pop(group)
        self._left -= WRITE_COST  # to encode takes about as long as a write
        job.rounds, job.number = self._rounds(group, events), 0
        return True

    def _drop(self, group: Group) -> None:
        """Forget what is being written to a group, and what waits behind it."""
        group.writing = False
        self._since.pop(group, None)
        self._count_waiting(-group.waiting_bytes)
        group.waiting, group.waiting_bytes = None, 0
        self._give_up(group)

    # What waits

    def _wait(self, group: Group, events: list[Event], size: int) -> None:
        if group.waiting is None:
            group.waiting = []
            self._since[group] = self._read_at or perf_counter()
        group.waiting += events
        group.waiting_bytes += size
        self._count_waiting(size)
        if group.stream is not None and group.waiting_bytes > GROUP_WAITING_MAX_BYTES:
            log.warning("group.rewound", channel=group.channel, waiting_bytes=group.waiting_bytes)
            self._count_waiting(-group.waiting_bytes)
            group.waiting, group.waiting_bytes = None, 0
            del self._since[group]
            group.stream.rewind()

    def _count_waiting(self, added: int) -> None:
        self._waiting_bytes += added
        if self._is_reading and self._waiting_bytes > WAITING_MAX_BYTES:
            self._is_reading = False
            self._set_reading(False)
        elif not self._is_reading and self._waiting_bytes < WAITING_MAX_BYTES // 2:
            self._is_reading = True
            self._set_reading(True)


def _split(events: list[Event], size: int) -> tuple[list[Event], list[Event]]:
    """Cut what makes one batch, by the events' mean size."""
    count = max(1, len(events) * BATCH_BYTES // size)
    return events[:count], events[count:]
