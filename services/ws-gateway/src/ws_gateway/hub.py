"""The hub: the work that all members of a channel share is done once per process.

1. The process subscribes to a channel when its first local member joins, and leaves with the last: here.
2. What Redis sends is decoded, encoded and framed once, and written to every member: :mod:`ws_gateway.fanout`.
3. On a channel with history the hub knows the last offset; what is missing it reads from the stream, before anything
   newer is delivered: :mod:`ws_gateway.healing`.

Everything runs on one event loop. A channel without history is delivered at most once.

Source: ADR-0002, ADR-0006.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from clarion.names import redis_group
from clarion.namespaces import ClarionConfig
from clarion.publications import Message
from clarion.streams import Streams
from clarion.subscriber import Subscriber
from ws_gateway.fanout import Fanout
from ws_gateway.groups import Group
from ws_gateway.healing import Healer
from ws_gateway.matching import Wanted
from ws_gateway.recovery import Kept, Stream
from ws_gateway.wires import PLAIN, Member, Wire

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
        fanout: what delivers. healer: what reads the streams, if there are any.
        joined, left: members that came, and that went by themselves, ever.
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
        self._streams = streams
        self._config = config
        self._groups: dict[bytes, Group] = {}
        self.joined = 0
        self.left = 0
        self.fanout = Fanout(
            self._groups, decode=decode, heal=self._heal, give_up=self._give_up, set_reading=self._set_reading
        )
        self.healer = Healer(streams, self._groups, self.fanout.deliver) if streams is not None else None
        self._subscriber = Subscriber(
            urls,
            on_messages=self.fanout.dispatch,
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
        self.joined += group.add(member, wire)

    def leave(self, channel: str, member: Member, wire: Wire = PLAIN) -> None:
        """Take a member out; nothing happens if it is none."""
        group = self._group(channel)
        if group is not None:
            self.left += group.remove(member, wire)  # or it has been taken out: its position was lost
            self._drop_if_empty(group)

    def position(self, channel: str) -> tuple[int, str]:
        """Offset and epoch at which a member that joins in this turn starts; (0, "") without history."""
        group = self._group(channel)
        if group is None or group.stream is None:
            return 0, ""
        return max(0, group.stream.delivered), group.stream.epoch

    async def recover(
        self, channel: str, since: int, epoch: str, limit: int, wanted: Wanted | None = None
    ) -> Recovered:
        """Find what a client missed behind a position; within :meth:`holding`.

        Who joins in the same turn as this returns misses nothing and gets nothing twice.

        Args:
            limit: most publications; a client that missed more must reload.
            wanted: which publications the client gets at all; None is all. Only these count.
        """
        group = self._group(channel)
        assert group is not None
        if group.stream is None or self.healer is None:
            return Recovered(ok=False, publications=[], offset=0, epoch="")
        found = await self.healer.recover(group, since, epoch, limit, wanted)
        stream = group.stream
        return Recovered(
            ok=found is not None, publications=found or [], offset=max(0, stream.delivered), epoch=stream.epoch
        )

    def listen(self, name: str, handler: Callable[[bytes], None]) -> None:
        """Hear a Redis channel that is no group's, for as long as the process lives."""
        self.fanout.listeners[name.encode()] = handler
        self._subscriber.subscribe(name)

    async def settle(self) -> None:
        """Return once everything that Redis had sent before this call is written, or is being written in slices."""
        await self._subscriber.settle()

    def is_writing(self, channel: str) -> bool:
        """Whether a message is being written to a channel's members in slices: some may not have it yet."""
        group = self._group(channel)
        return group is not None and group.writing

    @property
    def redis(self) -> Subscriber:
        """What listens to Redis."""
        return self._subscriber

    @property
    def subscriptions(self) -> int:
        """Members of all channels: counted as they come and go, so that asking costs nothing."""
        return self.joined - self.left - (self.healer.taken if self.healer is not None else 0)

    @property
    def channel_count(self) -> int:
        """Channels that have members here, or are about to."""
        return len(self._groups)

    def channels(self) -> dict[str, int]:
        """Every channel that has members here, with their number."""
        return {group.channel: group.size for group in self._groups.values() if group.size}

    def _group(self, channel: str) -> Group | None:
        return self._groups.get(redis_group(self._prefix, channel).encode())

    def _heal(self, group: Group) -> None:
        if self.healer is not None:
            self.healer.heal(group)

    def _give_up(self, group: Group) -> None:
        if self.healer is not None and group.stream is not None:
            self.healer.give_up(group)

    def _set_reading(self, is_reading: bool) -> None:
        if is_reading:
            self._subscriber.resume()
        else:
            self._subscriber.pause()

    def _new_stream(self, channel: str) -> Stream | None:
        if self.healer is None or self._config is None or not self._config.is_recoverable(channel):
            return None
        return Stream(asyncio.get_running_loop().create_future())

    def _drop_if_empty(self, group: Group) -> None:
        if not group.size and not group.holds and self._groups.get(group.name) is group:
            del self._groups[group.name]
            self._subscriber.unsubscribe(group.name)


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
