"""One gateway's presence on one Redis: written in bulk, and kept alive.

One task writes: what came while a write was under way goes with the next one. So the order in which things were done
is the order in which they are told, and a storm of clients costs few round trips. A write whose answer was lost is
sent again as it was; its number tells Redis whether it had been done.

Source: ADR-0008.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgspec
import structlog
from redis.asyncio import Redis

from clarion.connections import REDIS_ERRORS
from clarion.errors import ChannelLayerUnavailable
from clarion.names import redis_group, redis_node, redis_node_entries, redis_nodes, redis_presence
from clarion.presence import Facts
from clarion.presence_scripts import BEAT, FAREWELL, WRITE
from clarion.read_lanes import command_send
from clarion.redis_commands import Command
from clarion.redis_scripts import Script
from clarion.refusals import redis_reason
from ws_gateway.presence.changes import Change, Entries, Kind

log = structlog.stdlib.get_logger("ws_gateway.presence")

BEAT_S: Final = 2.0
"""Two heartbeats may fail before a gateway counts as dead."""

LATE_S: Final = 3.0
"""A longer gap between heartbeats counts as an interruption: Redis may have been away, and for others, too."""

NODE_TTL_S: Final = 15
"""How long Redis keeps a silent gateway's facts."""

BATCH_CHANGES: Final = 256
"""Changes of one write: 1 to 2 ms of Redis's time. As many entries are removed in one step for a dead gateway."""

BATCH_BYTES: Final = 1024 * 1024
ENTERING_MAX: Final = 20_000
"""Clients that may wait to be written; further ones are refused. Leaves are bounded by what had been entered."""

STOP_S: Final = 3.0
RETRY_FIRST_S: Final = 0.1
RETRY_MOST_S: Final = 1.0
_SCAN_ENTRIES: Final = 1_000


class PresenceShard:
    """This gateway's entries on one Redis.

    Args:
        client: with a connection for this alone.
        uid: of this process.
        prefix: the channel layer's prefix.
        entries: makes them.
        facts: of this gateway.
    """

    def __init__(
        self,
        client: Redis,
        *,
        uid: str,
        prefix: str,
        entries: Entries,
        facts: Callable[[], Facts],
    ) -> None:
        self.entries: dict[bytes, bytes] = {}
        """What Redis has of this gateway: values by ``<client> <channel>``."""
        self._client = client
        self._uid = uid
        self._make = entries
        self._facts = facts
        self._nodes, self._node = redis_nodes(prefix), redis_node(prefix, uid)
        self._node_entries = redis_node_entries(prefix, uid)
        self._prefixes = redis_presence(prefix, ""), redis_group(prefix, "")
        self._waiting: OrderedDict[Change, None] = OrderedDict()
        self._entering = 0
        self._sent: list[Change] = []
        self._again: deque[bytes] = deque()
        self._scanned: int | None = None
        self._number = 0
        self._remembered = b""
        self._beat_due = 0.0
        self._delay_s = 0.0
        self._has_work, self._is_idle = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False

    def start(self) -> None:
        """Begin to beat and to write."""
        self._task = asyncio.get_running_loop().create_task(self._write_all())

    async def stop(self) -> None:
        """Write what waits, within ``STOP_S``, and forget this node."""
        task, self._task = self._task, None
        if task is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self._is_idle.wait()
            self._is_stopping = True
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with suppress(*REDIS_ERRORS):
                await self._run(FAREWELL, 3, self._nodes, self._node, self._node_entries, self._uid)
        await self._client.aclose(close_connection_pool=True)

    # What is to be written

    def add(self, change: Change) -> None:
        """Write an enter soon.

        Raises:
            ChannelLayerUnavailable: too many wait already.
        """
        if self._entering >= ENTERING_MAX:
            raise ChannelLayerUnavailable("too many clients wait to be written to Redis")
        self._entering += 1
        self._put(change)

    def take_back(self, change: Change) -> None:
        """Undo an enter that was added: nobody waits for it any more."""
        if change in self._waiting:
            del self._waiting[change]
            self._entering -= 1
        elif change in self._sent:
            change.is_taken_back = True
            self._put(self._make.leave(change.key, change.value))
        else:
            self.leave(change.key)

    def leave(self, key: bytes) -> None:
        """Write soon that somebody has left; nothing happens if they are not there."""
        value = self.entries.pop(key, None)
        if value is not None:
            self._put(self._make.leave(key, value))

    def _put(self, change: Change) -> None:
        self._waiting[change] = None
        self._is_idle.clear()
        self._has_work.set()

    # Writing

    async def _write_all(self) -> None:
        # Python 3.11's wait_for, with which redis-py sends, may swallow the cancellation of stop().
        while not self._is_stopping:
            try:
                await self._step()
            except REDIS_ERRORS as exc:
                await self._back_off(exc)
            except Exception as exc:
                log.exception("presence.failed")
                await self._back_off(exc)
            else:
                if self._delay_s:
                    self._delay_s = 0.0
                    log.warning("presence.resumed", waiting=len(self._waiting), entries=len(self.entries))

    async def _step(self) -> None:
        if asyncio.get_running_loop().time() >= self._beat_due:
            await self._beat()
        if self._scanned is not None and not self._sent:
            await self._scan(self._scanned)
        # Unknown whether Redis has what was sent last: the very same once more.
        self._sent = self._sent or self._next_batch()
        if self._sent:
            await self._write()
        elif not self._is_stopping:
            await self._wait()

    async def _wait(self) -> None:
        self._has_work.clear()
        self._is_idle.set()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._beat_due):
                await self._has_work.wait()

    def _next_batch(self) -> list[Change]:
        batch: list[Change] = []
        size = 0
        while self._again and len(batch) < BATCH_CHANGES // 2 and size < BATCH_BYTES:
            key = self._again.popleft()
            if (value := self.entries.get(key)) is not None:
                batch.append(self._make.again(key, value))
                size += batch[-1].size
        while self._waiting and len(batch) < BATCH_CHANGES and size < BATCH_BYTES:
            change, _ = self._waiting.popitem(last=False)
            self._entering -= change.kind is Kind.ENTER
            batch.append(change)
            size += change.size
        if batch:
            self._number += 1
        return batch

    async def _write(self) -> None:
        number = b"%d" % self._number
        words = [word for change in self._sent for word in change.words]
        keys = (3, self._node, self._node_entries, self._nodes)
        before = await self._run(WRITE, *keys, self._uid, number, *self._prefixes, NODE_TTL_S, *words)
        sent, self._sent = self._sent, []
        for change in sent:
            if change.kind is Kind.ENTER and not change.is_taken_back:
                self.entries[change.key] = change.value
                if change.written is not None and not change.written.done():
                    change.written.set_result(None)
        remembered, self._remembered = self._remembered, number
        if before != remembered:
            self._forgotten()
            self._beat_due = 0.0

    async def _beat(self) -> None:
        facts = msgspec.json.encode(self._facts())
        late_ms = round(LATE_S * 1000)
        before = await self._run(BEAT, 2, self._nodes, self._node, self._uid, facts, NODE_TTL_S, late_ms)
        self._beat_due = asyncio.get_running_loop().time() + BEAT_S * random.uniform(0.9, 1.1)  # noqa: S311 - jitter
        if before != self._remembered and not (self._sent and before == b"%d" % self._number):
            self._remembered = before
            self._forgotten()

    def _forgotten(self) -> None:
        """Redis lost data, or others took this gateway for dead: write all again, and remove what came back."""
        log.warning("presence.forgotten", entries=len(self.entries))
        self._again = deque(self.entries)
        self._scanned = 0

    async def _scan(self, cursor: int) -> None:
        """Look at some of what Redis has of this gateway: after a loss it may have again what had been removed."""
        words = ("SSCAN", self._node_entries, cursor, "COUNT", _SCAN_ENTRIES)
        cursor, keys = await command_send(self._client, Command(0, None, words))
        waiting = {change.key for change in self._waiting}
        for key in keys:
            if key not in self.entries and key not in waiting:
                self._put(Change(Kind.DROP, key))
        self._scanned = int(cursor) or None

    async def _back_off(self, exc: Exception) -> None:
        if not self._delay_s:
            log.warning("presence.interrupted", error=redis_reason(exc), waiting=len(self._waiting))
        self._delay_s = min(max(RETRY_FIRST_S, 2 * self._delay_s), RETRY_MOST_S)
        await asyncio.sleep(self._delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _run(self, script: Script, *words: Any) -> Any:
        return await command_send(self._client, Command(0, script, words))
