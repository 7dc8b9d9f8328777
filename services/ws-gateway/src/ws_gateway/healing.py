"""Reading from the streams what the hub misses: positions, gaps, and what clients that come back have missed.

A group is *healed* when a live publication skipped an offset, when Redis was away, or when its position, compared every
few seconds, turns out to be behind. Members that count offsets and whose gap the stream no longer holds are taken out
of the channel and told (:meth:`ws_gateway.wires.PositionedMember.position_lost`); the others go on live.

Source: ADR-0006.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

import structlog

from clarion.errors import ChannelLayerUnavailable, ClarionError
from clarion.publications import Publication
from clarion.streams import Position, Slice, Streams
from clarion.values import json_encode
from ws_gateway.events import Event
from ws_gateway.groups import Group
from ws_gateway.matching import SHARED_MAX, Wanted, matching_kept, matching_read
from ws_gateway.placing import Placer
from ws_gateway.recovery import RECENT_MAX, Kept, Stream
from ws_gateway.wires import Member, PositionedMember

log = structlog.stdlib.get_logger("ws_gateway.healing")

CHECK_INTERVAL_S: Final = 10.0
"""How often the position of a channel on which nothing came is compared with its stream's."""

CHECK_CHANNELS: Final = 500
"""Positions that are asked for in one round trip."""

RECENT_S: Final = 2.0
"""How long publications are kept for clients that recover after the last one that used them."""

CATCH_UP_S: Final = 2.0
"""How long a client that saw more than has come here may wait for it."""

STOP_S: Final = 2.0
RECOVER_ROUNDS: Final = 5
TOLD_IN_A_TURN: Final = 256
_RETRY_FIRST_S: Final = 0.1
_RETRY_MOST_S: Final = 2.0

Deliver = Callable[[Group, list[Event], int], None]


class Healer:
    """Keeps the groups of a hub at the place where their streams are.

    Args:
        streams: the histories.
        groups: the hub's groups, by their Redis name; looked at, not changed.
        deliver: :meth:`ws_gateway.fanout.Fanout.deliver`.

    Attributes:
        heals: gaps filled. resets: positions lost. taken: members that were taken out because of that.
    """

    def __init__(self, streams: Streams, groups: dict[bytes, Group], deliver: Deliver) -> None:
        self._streams = streams
        self._groups = groups
        self._deliver = deliver
        self._tasks: set[asyncio.Task[None]] = set()
        self._healing: set[Group] = set()  # not by name: a channel may be left and joined again during a read
        self._placer = Placer(streams, is_current=self._is_current, start=self._start, placed=self._placed)
        self.heals = 0
        self.resets = 0
        self.taken = 0

    def start(self) -> None:
        """Begin to compare positions."""
        self._start(self._stay_checked())

    async def stop(self) -> None:
        """End every task, within two seconds: redis-py may lose a cancellation (Python 3.11's ``wait_for``)."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_S)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.error("task.failed", error=repr(exc), exc_info=exc)

    def _is_current(self, group: Group) -> bool:
        return self._groups.get(group.name) is group

    # Positions

    def find_position(self, group: Group, since: int | None) -> None:
        """Read where a new group's stream stands, and what follows ``since`` with it."""
        if group in self._healing:
            return
        self._healing.add(group)
        if since is None:
            self._placer.add(group)
        else:
            self._start(self._find_position(group, since))

    async def _find_position(self, group: Group, since: int) -> None:
        stream = _stream_of(group)
        try:
            while self._is_current(group) and not stream.positioned.done():
                stream.keep_recent(_now())
                found = await self._read_patiently(group, since, limit=RECENT_MAX)
                if found is not None:
                    if found.covers(since):
                        stream.merge_recent(found, _now())
                    stream.set_position(found.offset, found.epoch)
        finally:
            self._placed(group)

    def _placed(self, group: Group) -> None:
        self._healing.discard(group)
        if _stream_of(group).is_healing:  # a live publication skipped an offset meanwhile
            self.heal(group)

    def check_all(self) -> None:
        """Compare every group with its stream: Redis has been away, and what it sent meanwhile is lost."""
        self._start(self._check([group for group in self._groups.values() if group.stream is not None]))

    async def _stay_checked(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + CHECK_INTERVAL_S
        while True:
            await asyncio.sleep(RECENT_S / 2)
            groups = [group for group in self._groups.values() if group.stream is not None]
            for group in groups:
                _stream_of(group).forget_recent(loop.time() - RECENT_S)
            if loop.time() >= due:
                due = loop.time() + CHECK_INTERVAL_S * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
                quiet = [group for group in groups if _stream_of(group).is_quiet]
                for group in groups:
                    _stream_of(group).is_quiet = True
                await self._check(quiet)

    async def _check(self, groups: list[Group]) -> None:
        for start in range(0, len(groups), CHECK_CHANNELS):
            some = [group for group in groups[start : start + CHECK_CHANNELS] if self._is_current(group)]
            before = [_stream_of(group).offset for group in some]
            try:
                tops = await self._streams.positions([group.channel for group in some])
            except ClarionError as exc:
                log.warning("positions.unread", error=exc.code, channels=len(some))
                return  # Redis went again: its return brings the next check
            for group, offset in zip(some, before, strict=True):
                self._compare(group, offset, tops.get(group.channel))

    def _compare(self, group: Group, before: int, top: Position | None) -> None:
        stream = _stream_of(group)
        if top is None or stream.is_healing or not self._is_current(group):
            return
        if stream.offset < 0:
            self.find_position(group, None)
        elif top.epoch != stream.epoch or top.offset > stream.offset or top.offset < before:
            # Behind what had been seen before: Redis came back with older data. That is a lost position, too.
            stream.is_healing = True
            self.heal(group)

    # Gaps

    def heal(self, group: Group) -> None:
        """Read what is missing; ``is_healing`` is set, so that what comes meanwhile is held."""
        if group not in self._healing and not group.writing:
            self._healing.add(group)
            self._start(self._heal(group))

    async def _heal(self, group: Group) -> None:
        stream = _stream_of(group)
        try:
            while stream.is_healing and self._is_current(group) and not group.writing:
                since = stream.offset
                found = await self._read_patiently(group, since, limit=None)
                if found is None:
                    return
                events = stream.fill(found, since)
                if events is None:
                    self._reset(group, found)
                elif events:
                    self.heals += 1
                    log.info("group.healed", channel=group.channel, since=since, publications=len(events))
                    self._deliver(group, events, _size_of(events))
        except Exception:
            # A defect, or an entry that nobody could foresee.
            log.exception("heal.failed", channel=group.channel)
            self.give_up(group)
        finally:
            self._healing.discard(group)

    def give_up(self, group: Group) -> None:
        """Let who counts offsets start anew: a channel that stayed silent, or had a hole, would be worse."""
        stream = _stream_of(group)
        self._reset(group, Slice(stream.offset, stream.epoch, []))

    async def _read_patiently(self, group: Group, since: int | None, *, limit: int | None) -> Slice | None:
        """Read, however long Redis is away; None: the group is gone meanwhile."""
        delay_s = _RETRY_FIRST_S
        while self._is_current(group):
            try:
                return await self._streams.read(group.channel, since=since, limit=limit)
            except ChannelLayerUnavailable:
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                delay_s = min(2 * delay_s, _RETRY_MOST_S)
        return None

    def _reset(self, group: Group, found: Slice) -> None:
        stream = _stream_of(group)
        # Out of the channel first: none of them may see anything newer than its gap.
        lost = group.take_positioned()
        self.resets += 1
        self.taken += len(lost)
        log.warning("group.position_lost", channel=group.channel, offset=stream.offset, members=len(lost))
        held = stream.reset(found.offset, found.epoch)
        if held:
            self._deliver(group, held, _size_of(held))
        self._tell_lost(group, lost, 0)

    def _tell_lost(self, group: Group, members: list[Member], start: int) -> None:
        for member in members[start : start + TOLD_IN_A_TURN]:
            cast("PositionedMember", member).position_lost(group.channel)
        if start + TOLD_IN_A_TURN < len(members):
            asyncio.get_running_loop().call_soon(self._tell_lost, group, members, start + TOLD_IN_A_TURN)

    # Who comes back

    async def recover(
        self, group: Group, since: int, epoch: str, limit: int, wanted: Wanted | None
    ) -> list[Kept] | None:
        """What a client missed behind a position, up to what has been delivered; None: it must reload.

        Args:
            wanted: which of it the client gets; only these count, since it knows no later position than its last one.

        Raises:
            ChannelLayerUnavailable: Redis did not answer in time.
        """
        stream = _stream_of(group)
        for _ in range(RECOVER_ROUNDS):
            missed = stream.delivered - since
            if epoch not in ("", stream.epoch) or (wanted is None and missed > limit):
                return None
            if since > stream.delivered:
                # It saw more on another gateway than has come here; the stream knows.
                if not await self._catch_up(group, since):
                    return None
                continue
            found = stream.recent_since(since, _now())
            if found is not None:
                return matching_kept(found, limit, wanted)
            if wanted is not None and missed > SHARED_MAX:
                return await matching_read(self._streams, group.channel, stream, since, limit, wanted)
            if not await self._read_recent(group, since):
                return None
        return None

    async def latest(self, group: Group) -> list[Kept]:
        """The newest publication that has been delivered, if the stream holds one.

        Raises:
            ChannelLayerUnavailable: Redis did not answer in time.
        """
        stream = _stream_of(group)
        for _ in range(RECOVER_ROUNDS):
            delivered = stream.delivered
            found = await self._streams.read(group.channel, since=delivered + 1, limit=1, reverse=True)
            if delivered == stream.delivered or not found.publications:
                return [Kept(publication) for publication in found.publications]
            kept = stream.recent_since(stream.delivered - 1, _now())
            if kept:
                return kept
        return [Kept(publication) for publication in found.publications]

    async def _catch_up(self, group: Group, offset: int) -> bool:
        stream = _stream_of(group)
        found = await self._streams.read(group.channel, since=max(0, stream.offset), limit=None)
        if found.epoch != stream.epoch or found.offset < offset:
            return False
        if stream.offset < offset and not stream.is_healing:
            stream.is_healing = True
            self.heal(group)
        if stream.delivered < offset:
            caught_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            stream.catching_up.append((offset, caught_up))
            await asyncio.wait([caught_up], timeout=CATCH_UP_S)
        return stream.delivered >= offset

    async def _read_recent(self, group: Group, since: int) -> bool:
        """Read what follows an offset into what is kept; clients that ask for the same share one read."""
        stream = _stream_of(group)
        reading = stream.reads.get(since)
        if reading is None:
            reading = stream.reads[since] = asyncio.get_running_loop().create_future()
            stream.keep_recent(_now())
            self._start(self._read_into(group, since, reading))
        try:
            await asyncio.shield(reading)
        except LookupError:
            return False
        return True

    async def _read_into(self, group: Group, since: int, reading: asyncio.Future[None]) -> None:
        stream = _stream_of(group)
        try:
            found = await self._streams.read(group.channel, since=since, limit=None)
            if found.epoch == stream.epoch and found.covers(since):
                stream.merge_recent(found, _now())
                reading.set_result(None)
            else:
                reading.set_exception(LookupError(since))
        except ClarionError as exc:
            reading.set_exception(exc)
        finally:
            del stream.reads[since]
            if not reading.done():
                reading.cancel()
            elif not reading.cancelled():
                reading.exception()  # seen, also when every client that waited is gone


def _stream_of(group: Group) -> Stream:
    assert group.stream is not None
    return group.stream


def _size_of(events: list[Event]) -> int:
    """About how many bytes: what was read from a stream may be as much as it holds."""
    return sum(len(json_encode(event.data)) for event in events if type(event) is Publication)


def _now() -> float:
    return asyncio.get_running_loop().time()
