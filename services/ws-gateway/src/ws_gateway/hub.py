"""The hub: the work that all members of a channel share is done once per process.

1. The process subscribes to a channel when its first local member joins, and leaves with the last.
2. A message is decoded once, encoded and framed once per wire in use; the same ``bytes`` go to every member's socket.
3. All messages that wait for a channel are joined into one write per member: under load the cost of a delivery
   falls, with no added delay when idle.
4. A long member list is written in slices between which the event loop turns, with each member's order kept.
5. On a channel with history the hub knows the last offset; what is missing it reads from the stream, before anything
   newer is delivered (:mod:`ws_gateway.healing`).

Everything runs on one event loop. A channel without history is delivered at most once.

Source: ADR-0002, ADR-0006.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import structlog

from clarion.names import redis_group
from clarion.namespaces import ClarionConfig
from clarion.publications import Message, Publication
from clarion.streams import Streams
from clarion.subscriber import Messages, Subscriber
from ws_gateway.events import Event, event_of
from ws_gateway.groups import Group, Round
from ws_gateway.healing import Healer
from ws_gateway.recovery import Kept, Stream
from ws_gateway.wires import PLAIN, Member, Wire

log = structlog.stdlib.get_logger("ws_gateway.hub")

SLICE_MEMBERS: Final = 512
"""Members written to before the event loop turns: about 2 ms, so that pings, joins and other rooms go on."""

WAITING_MAX_BYTES: Final = 64 * 1024 * 1024
"""Messages that may wait for channels whose members are being written to; over it the process stops reading Redis."""

GROUP_WAITING_MAX_BYTES: Final = 4 * 1024 * 1024
"""The same of one channel with history; over it they are forgotten and read from the stream when it is their turn."""

UNKEPT_CHANNELS_MAX: Final = 1_000
"""Channels that are remembered as told of in the log; over it the oldest is forgotten, and may be told of again."""

WAIT_STEPS: Final = 4
"""Parts of a join's deadline. One in which Redis has answered others does not count: it is the queue that is long."""

PATIENCE: Final = 4
"""Deadlines that a join waits at most, however much Redis answers to others."""


class Recovered(NamedTuple):
    """What a client that comes back is to be told, before it joins.

    Attributes:
        ok: every publication it missed is here; False: it must reload its state.
        publications: what it missed, oldest first.
        offset, epoch: where it goes on.
    """

    ok: bool
    publications: list[Kept]
    offset: int
    epoch: str


class Hub:
    """All channels that have members in this process.

    Args:
        urls: one Redis URL a shard.
        prefix: the channel layer's prefix.
        decode: bytes of a layer message → the message (the channel layer's ``deserialize``).
        streams: the histories; None: no channel has one.
        config: which channels have one.
        timeout_s: Redis's deadline to connect, and to answer.

    Attributes:
        undecodable: messages that were none of a channel layer's.
        unkept: messages without an offset on channels with history: of stock services, or meant so.
    """

    def __init__(
        self,
        urls: list[str],
        *,
        prefix: str,
        decode: Callable[[bytes], Message],
        streams: Streams | None = None,
        config: ClarionConfig | None = None,
        timeout_s: float = 1.0,
    ) -> None:
        self._prefix = prefix
        self._decode = decode
        self._streams = streams
        self._config = config
        self._groups: dict[bytes, Group] = {}
        self._listeners: dict[bytes, Callable[[bytes], None]] = {}
        self._waiting_bytes = 0
        self._paused = False
        self.undecodable = 0
        self.unkept = 0
        self._unkept_channels: dict[str, None] = {}
        self.healer = Healer(streams, self._groups, self.deliver) if streams is not None else None
        self._subscriber = Subscriber(
            urls,
            on_messages=self.dispatch,
            on_regained=self.healer.check_all if self.healer is not None else lambda: None,
            timeout_s=timeout_s,
        )

    @property
    def connected(self) -> bool:
        """Whether Redis is there and every subscription stands."""
        return self._subscriber.connected

    def start(self) -> None:
        """Begin to listen to Redis; it may not be there yet."""
        self._subscriber.start()
        if self.healer is not None:
            self.healer.start()

    async def stop(self) -> None:
        """Stop listening."""
        if self.healer is not None:
            await self.healer.stop()
        await self._subscriber.stop()

    # Members

    def is_ready(self, channel: str) -> bool:
        """Whether :meth:`holding` would return at once: the subscription stands, and the position is known."""
        group = self._group(channel)
        return (
            group is not None
            and self._subscriber.subscribe(group.name).done()
            and (group.stream is None or group.stream.offset >= 0)
        )

    @asynccontextmanager
    async def holding(self, channel: str, timeout_s: float, *, since: int | None = None) -> AsyncIterator[bool]:
        """Keep the process subscribed to a channel while a client joins.

        Entered once Redis has confirmed the subscription and told the channel's position, or after ``timeout_s``: a
        client of a plain room that joins while Redis is away stays, as those do that joined before, and receives
        again when Redis is back. The value says whether the channel is ready.

        Args:
            since: the offset that the client will recover from: the position is read together with what it missed.
        """
        group = self._hold(channel)
        try:
            confirmed = self._subscriber.subscribe(group.name)
            deadline = asyncio.get_running_loop().time() + timeout_s
            if not confirmed.done():  # a member is here already: no timer, no turn of the loop
                await self._wait_for(confirmed, timeout_s)
            if group.stream is not None and confirmed.done() and not group.stream.positioned.done():
                assert self.healer is not None
                self.healer.find_position(group, since)
                left_s = deadline - asyncio.get_running_loop().time()
                await self._wait_for(group.stream.positioned, max(left_s, timeout_s / WAIT_STEPS))
            yield confirmed.done() and (group.stream is None or group.stream.offset >= 0)
        finally:
            self._let_go(group)

    @property
    def progress(self) -> int:
        """Grows whenever Redis has confirmed a subscription or answered a read."""
        return self._subscriber.confirmed + (self._streams.answered if self._streams is not None else 0)

    async def _wait_for(self, future: asyncio.Future[None], timeout_s: float) -> None:
        """Wait until a future is done or the time is over.

        Step by step: after a storm of joins the loop may come back later than the deadline, with Redis's answer unread.
        And not by ``wait_for``: that would cancel the future for everybody else who waits for it.
        """
        left, seen = WAIT_STEPS, self.progress
        for _ in range(WAIT_STEPS * PATIENCE):
            if future.done() or not left:
                return
            await asyncio.wait([future], timeout=timeout_s / WAIT_STEPS)
            now = self.progress
            left -= now == seen
            seen = now

    def when_ready(self, channel: str, then: Callable[[], None]) -> Hold:
        """Call back when a channel is ready, as :meth:`holding` without a task; the caller has the deadline."""
        return Hold(self, self._hold(channel), then)

    def _hold(self, channel: str) -> Group:
        name = redis_group(self._prefix, channel)
        group = self._groups.get(name.encode())
        if group is None:
            group = self._groups[name.encode()] = Group(channel, name, self._new_stream(channel))
        group.holds += 1
        return group

    def _let_go(self, group: Group) -> None:
        group.holds -= 1
        self._drop_if_empty(group)

    async def recover_latest(self, channel: str, since: int, epoch: str) -> Recovered:
        """Find the newest publication of a channel that keeps its latest state (cache mode); within :meth:`holding`.

        Its ``ok`` says whether there is one; it is not sent to a client that has it already.
        """
        group = self._group(channel)
        assert group is not None
        stream = group.stream
        if stream is None or self.healer is None:
            return Recovered(ok=False, publications=[], offset=0, epoch="")
        has_newest = epoch == stream.epoch and since == stream.delivered > 0
        found = [] if has_newest else await self.healer.latest(group)
        return Recovered(
            ok=has_newest or bool(found), publications=found, offset=max(0, stream.delivered), epoch=stream.epoch
        )

    def join(self, channel: str, member: Member, wire: Wire = PLAIN) -> None:
        """Make somebody a member; only within :meth:`holding`, or in the same turn as :meth:`is_ready`."""
        group = self._group(channel)
        assert group is not None
        group.add(member, wire)

    def leave(self, channel: str, member: Member, wire: Wire = PLAIN) -> None:
        """Take a member out; nothing happens if it is none."""
        group = self._group(channel)
        if group is not None:
            group.remove(member, wire)  # or it has been taken out: its position was lost
            self._drop_if_empty(group)

    def position(self, channel: str) -> tuple[int, str]:
        """Offset and epoch at which a member that joins in this turn starts; (0, "") without history."""
        group = self._group(channel)
        if group is None or group.stream is None:
            return 0, ""
        return max(0, group.stream.delivered), group.stream.epoch

    async def recover(self, channel: str, since: int, epoch: str, limit: int) -> Recovered:
        """Find what a client missed behind a position; within :meth:`holding`.

        Who joins in the same turn as this returns misses nothing and gets nothing twice.

        Args:
            limit: most publications; a client that missed more must reload.
        """
        group = self._group(channel)
        assert group is not None
        if group.stream is None or self.healer is None:
            return Recovered(ok=False, publications=[], offset=0, epoch="")
        found = await self.healer.recover(group, since, epoch, limit)
        stream = group.stream
        return Recovered(
            ok=found is not None, publications=found or [], offset=max(0, stream.delivered), epoch=stream.epoch
        )

    def listen(self, name: str, handler: Callable[[bytes], None]) -> None:
        """Hear a Redis channel that is no group's, for as long as the process lives."""
        self._listeners[name.encode()] = handler
        self._subscriber.subscribe(name)

    async def settle(self) -> None:
        """Return once everything that Redis had sent before this call is written, or is being written in slices."""
        await self._subscriber.settle()

    def is_writing(self, channel: str) -> bool:
        """Whether a message is being written to a channel's members in slices: some may not have it yet."""
        group = self._group(channel)
        return group is not None and group.writing

    def channels(self) -> dict[str, int]:
        """Every channel that has members here, with their number."""
        return {group.channel: group.size for group in self._groups.values() if group.size}

    def _group(self, channel: str) -> Group | None:
        return self._groups.get(redis_group(self._prefix, channel).encode())

    def _new_stream(self, channel: str) -> Stream | None:
        if self.healer is None or self._config is None or not self._config.is_recoverable(channel):
            return None
        return Stream(asyncio.get_running_loop().create_future())

    def _drop_if_empty(self, group: Group) -> None:
        if not group.size and not group.holds and self._groups.get(group.name) is group:
            del self._groups[group.name]
            self._subscriber.unsubscribe(group.name)

    # Delivery

    def dispatch(self, messages: Messages) -> None:
        """Deliver all messages of one read from Redis. The hot path: once a read, then once a channel."""
        groups = self._groups
        for name, payloads in messages.items():
            group = groups.get(name)
            if group is None:  # left between Redis's send and our read, or no group's name
                for payload in payloads if name in self._listeners else ():
                    self._listeners[name](payload)
                continue
            events = self._events(payloads)
            stream = group.stream
            if stream is not None:
                self._note_unkept(group, events)
                was_healing = stream.is_healing
                events = stream.admit(events)
                if stream.is_healing and not was_healing and self.healer is not None:
                    self.healer.heal(group)
            if events:
                self.deliver(group, events, sum(map(len, payloads)))

    def _events(self, payloads: list[bytes]) -> list[Event]:
        events: list[Event] = []
        for payload in payloads:
            try:
                events.append(event_of(self._decode(payload)))
            except Exception as exc:  # noqa: BLE001 - any service may publish anything; it must not end the hub
                self.undecodable += 1
                log.warning("message.undecodable", error=type(exc).__name__, count=self.undecodable)
        return events

    def _note_unkept(self, group: Group, events: list[Event]) -> None:
        """Count, and log once a channel, what who comes back to this channel will not recover."""
        unkept = sum([type(event) is Publication and not event.offset for event in events])
        if not unkept:
            return
        self.unkept += unkept
        told = self._unkept_channels
        if group.channel not in told:
            told[group.channel] = None
            if len(told) > UNKEPT_CHANNELS_MAX:
                del told[next(iter(told))]
            log.warning("message.unkept", channel=group.channel, count=self.unkept)

    def deliver(self, group: Group, events: list[Event], size: int) -> None:
        """Write events to all members of a group, behind what is being written to them.

        Args:
            size: about how many bytes the events hold.
        """
        if group.writing:  # behind the slice that is being written: order per member
            self._wait(group, events, size)
            return
        rounds = self._rounds(group, events)
        if group.size <= SLICE_MEMBERS:
            for frames, members in rounds:
                for _, write in members:
                    write(frames)
        elif rounds:
            group.writing = True
            self._write_slices(group, rounds)

    def _rounds(self, group: Group, events: list[Event]) -> list[Round]:
        stream = group.stream
        if stream is not None:
            for event in reversed(events):
                if type(event) is Publication and event.offset and event.epoch == stream.epoch:
                    stream.set_delivered(event.offset)
                    break
        group.left = None
        return group.rounds(events)

    def _write_slices(self, group: Group, rounds: list[Round]) -> None:
        loop = asyncio.get_running_loop()

        def write_slice(number: int, start: int) -> None:
            frames, members = rounds[number]
            left = group.left or ()
            for member, write in members[start : start + SLICE_MEMBERS]:
                if member not in left:  # who left in between gets nothing more; who came back has it by its position
                    write(frames)
            if start + SLICE_MEMBERS < len(members):
                loop.call_soon(write_slice, number, start + SLICE_MEMBERS)
            elif number + 1 < len(rounds):
                loop.call_soon(write_slice, number + 1, 0)
            else:
                self._write_waiting(group)

        write_slice(0, 0)

    def _write_waiting(self, group: Group) -> None:
        """Go on with what came meanwhile: all of it in one write per member."""
        group.writing = False
        group.left = None
        if not group.waiting:
            if group.stream is not None and group.stream.is_healing and self.healer is not None:
                self.healer.heal(group)
            return
        events, size = group.waiting, group.waiting_bytes
        group.waiting, group.waiting_bytes = None, 0
        self._count_waiting(-size)
        rounds = self._rounds(group, events)
        if rounds:
            group.writing = True
            # By the loop, not by a call: two big rooms take turns, and the stack does not grow.
            asyncio.get_running_loop().call_soon(self._write_slices, group, rounds)

    def _wait(self, group: Group, events: list[Event], size: int) -> None:
        if group.waiting is None:
            group.waiting = []
        group.waiting += events
        group.waiting_bytes += size
        self._count_waiting(size)
        if group.stream is not None and group.waiting_bytes > GROUP_WAITING_MAX_BYTES:
            log.warning("group.position_only", channel=group.channel, waiting_bytes=group.waiting_bytes)
            self._count_waiting(-group.waiting_bytes)
            group.waiting, group.waiting_bytes = None, 0
            group.stream.rewind()

    def _count_waiting(self, added: int) -> None:
        self._waiting_bytes += added
        if not self._paused and self._waiting_bytes > WAITING_MAX_BYTES:
            self._paused = True
            self._subscriber.pause()
        elif self._paused and self._waiting_bytes < WAITING_MAX_BYTES // 2:
            self._paused = False
            self._subscriber.resume()


class Hold:
    """Somebody waits for a channel; the process keeps it until :meth:`release`."""

    __slots__ = ("_group", "_hub", "_then")

    def __init__(self, hub: Hub, group: Group, then: Callable[[], None]) -> None:
        self._hub = hub
        self._group = group
        self._then: Callable[[], None] | None = then
        self._look()

    def release(self) -> None:
        """Wait no longer; nothing is called back from now on."""
        if self._then is not None:
            self._then = None
            self._hub._let_go(self._group)

    def _look(self, _done: object = None) -> None:
        if self._then is None:
            return
        hub, stream = self._hub, self._group.stream
        confirmed = hub._subscriber.subscribe(self._group.name)
        if not confirmed.done():
            confirmed.add_done_callback(self._look)
        elif stream is not None and not stream.positioned.done():
            assert hub.healer is not None
            hub.healer.find_position(self._group, None)
            stream.positioned.add_done_callback(self._look)
        else:
            self._then()
