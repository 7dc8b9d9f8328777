"""The hub: the work that all members of a channel share is done once per process.

1. The process subscribes to a channel when its first local member joins, and leaves with the last.
2. A message is decoded once, encoded once and framed once; the same ``bytes`` go to every member's socket.
3. All messages that wait for a channel are joined into one write per member: under load the cost of a delivery
   falls, with no added delay when idle.
4. A long member list is written in slices between which the event loop turns, with each member's order kept.

Everything runs on one event loop. A plain room's messages are delivered at most once.

Source: ADR-0002.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from clarion.names import redis_group
from clarion.publications import Message, client_data
from clarion.server import Connection, text_frame
from clarion.subscriber import Messages, Subscriber
from clarion.values import json_encode

log = structlog.stdlib.get_logger("ws_gateway.hub")

SLICE_MEMBERS: Final = 512
"""Members written to before the event loop turns: about 2 ms, so that pings, joins and other rooms go on."""

WAITING_MAX_BYTES: Final = 64 * 1024 * 1024
"""Frames that may wait for channels whose members are being written to; over it the process stops reading Redis."""

Write = Callable[[bytes], None]


class Group:
    """One channel's members in this process."""

    __slots__ = ("holds", "members", "waiting", "writing")

    def __init__(self) -> None:
        self.members: dict[Connection, Write] = {}
        self.holds = 0  # joins under way: they keep the subscription though they are no members yet
        self.waiting: list[bytes] = []  # frames that came while a slice was being written
        self.writing = False


class Hub:
    """All channels that have members in this process.

    Args:
        urls: one Redis URL a shard.
        prefix: the channel layer's prefix.
        decode: bytes of a layer message → the message (the channel layer's ``deserialize``).
        timeout_s: Redis's deadline to connect, and to answer.
    """

    def __init__(
        self, urls: list[str], *, prefix: str, decode: Callable[[bytes], Message], timeout_s: float = 1.0
    ) -> None:
        self._prefix = prefix
        self._decode = decode
        self._groups: dict[bytes, Group] = {}
        self._waiting_bytes = 0
        self._paused = False
        self.undecodable = 0
        self._subscriber = Subscriber(urls, on_messages=self.dispatch, timeout_s=timeout_s)

    @property
    def connected(self) -> bool:
        """Whether Redis is there and every subscription stands."""
        return self._subscriber.connected

    def start(self) -> None:
        """Begin to listen to Redis; it may not be there yet."""
        self._subscriber.start()

    async def stop(self) -> None:
        """Stop listening."""
        await self._subscriber.stop()

    @asynccontextmanager
    async def holding(self, channel: str, timeout_s: float) -> AsyncIterator[None]:
        """Keep the process subscribed to a channel while a client joins.

        Entered once Redis has confirmed the subscription, or after ``timeout_s``: a client that joins while Redis is
        away stays, as those do that joined before, and receives again when Redis is back.
        """
        name = redis_group(self._prefix, channel)
        group = self._groups.setdefault(name.encode(), Group())
        group.holds += 1
        try:
            confirmed = self._subscriber.subscribe(name)
            if not confirmed.done():  # a member is here already: no timer, no turn of the loop
                # Not wait_for: that would cancel the future for everybody else who waits for it.
                await asyncio.wait([confirmed], timeout=timeout_s)
            yield
        finally:
            group.holds -= 1
            self._drop_if_empty(name, group)

    def join(self, channel: str, connection: Connection) -> None:
        """Make a connection a member; only within :meth:`holding`."""
        self._groups[redis_group(self._prefix, channel).encode()].members[connection] = connection.write

    def leave(self, channel: str, connection: Connection) -> None:
        """Take a connection out; nothing happens if it is not a member."""
        name = redis_group(self._prefix, channel)
        group = self._groups.get(name.encode())
        if group is not None and group.members.pop(connection, None) is not None:
            self._drop_if_empty(name, group)

    def _drop_if_empty(self, name: str, group: Group) -> None:
        if not group.members and not group.holds and self._groups.get(name.encode()) is group:
            del self._groups[name.encode()]
            self._subscriber.unsubscribe(name)

    def dispatch(self, messages: Messages) -> None:
        """Deliver all messages of one read from Redis. The hot path: once a read, then once a channel."""
        groups = self._groups
        for name, payloads in messages.items():
            group = groups.get(name)
            if group is None:  # left between Redis's send and our read
                continue
            frames = self._frames(payloads)
            if group.writing:  # behind the slice that is being written: order per member
                group.waiting.append(frames)
                self._count_waiting(len(frames))
            elif len(group.members) <= SLICE_MEMBERS:
                # A copy, because a write may find its peer gone and user code may leave on that.
                for write in list(group.members.values()):
                    write(frames)
            else:
                group.writing = True
                self._write_slices(group, frames)

    def _frames(self, payloads: list[bytes]) -> bytes:
        """Decode, encode and frame each payload once; one ``bytes`` for all of them."""
        frames = []
        for payload in payloads:
            try:
                frames.append(text_frame(json_encode(client_data(self._decode(payload)))))
            except Exception as exc:  # noqa: BLE001 - any service may publish anything; it must not end the hub
                self.undecodable += 1
                log.warning("message.undecodable", error=type(exc).__name__, count=self.undecodable)
        return frames[0] if len(frames) == 1 else b"".join(frames)

    def _write_slices(self, group: Group, frames: bytes) -> None:
        members = list(group.members.items())
        loop = asyncio.get_running_loop()

        def write_slice(start: int) -> None:
            still = group.members
            for connection, write in members[start : start + SLICE_MEMBERS]:
                if connection in still:  # who left in between gets nothing more
                    write(frames)
            if start + SLICE_MEMBERS < len(members):
                loop.call_soon(write_slice, start + SLICE_MEMBERS)
            else:
                self._write_waiting(group)

        write_slice(0)

    def _write_waiting(self, group: Group) -> None:
        """Go on with what came meanwhile: all of it in one write per member."""
        if not group.waiting:
            group.writing = False
            return
        frames = b"".join(group.waiting)
        group.waiting.clear()
        self._count_waiting(-len(frames))
        # By the loop, not by a call: two big rooms take turns, and the stack does not grow.
        asyncio.get_running_loop().call_soon(self._write_slices, group, frames)

    def _count_waiting(self, added: int) -> None:
        self._waiting_bytes += added
        if not self._paused and self._waiting_bytes > WAITING_MAX_BYTES:
            self._paused = True
            self._subscriber.pause()
        elif self._paused and self._waiting_bytes < WAITING_MAX_BYTES // 2:
            self._paused = False
            self._subscriber.resume()
