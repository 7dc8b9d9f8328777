"""Presence: who of this gateway's clients is in which channel, written to Redis for all to read.

Joins and leaves of a channel travel on its group, in one step with what is written. What a client did is told in the
order in which it was done, at most once to each member, as all that has no offset.

Source: ADR-0008.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any, Final, cast

from redis.asyncio import BlockingConnectionPool, Redis

from clarion.connections import REDIS_ERRORS, async_options
from clarion.errors import ChannelLayerUnavailable
from clarion.layers import ClarionChannelLayer
from clarion.presence import READ_DEADLINE_S, Facts, Members, PresenceReading, Result, Stats, Steps, Words
from ws_gateway.presence.changes import Entries, entry_key
from ws_gateway.presence.reads import SharedReads
from ws_gateway.presence.reaper import Reaper
from ws_gateway.presence.shard import PresenceShard

_READ_CONNECTIONS: Final = 8


class Presence:
    """The presence of one gateway's clients, and the reading of everybody's; used on one event loop.

    Args:
        urls: one Redis URL a shard, in the order that all services agree on.
        node: this gateway's name.
        prefix: the channel layer's prefix.
        timeout_s: how long Redis may take to connect, to answer, and to take an entry.
        layer: serialises what members are told.
        facts: what others may know of this gateway, asked for with each heartbeat.
    """

    def __init__(
        self,
        urls: list[str],
        *,
        node: str,
        prefix: str,
        timeout_s: float,
        layer: ClarionChannelLayer,
        facts: Callable[[], Facts],
    ) -> None:
        self.uid = uuid.uuid4().hex[:16]
        """Of this process: one that is started again under the same name is another."""
        self._timeout_s = timeout_s
        self._entries = Entries(self.uid, layer)
        self._reading = PresenceReading(prefix=prefix, shards=len(urls), decode=layer.deserialize)
        self._readers = [_client(url, timeout_s, _READ_CONNECTIONS) for url in urls]
        self._shards = [
            PresenceShard(
                _client(url, timeout_s, 1),  # of its own: the heartbeat never waits for readers
                uid=self.uid,
                prefix=prefix,
                entries=self._entries,
                facts=lambda: {"uid": self.uid, "name": node, **facts()},
            )
            for url in urls
        ]
        self._reapers = [Reaper(reader, uid=self.uid, prefix=prefix) for reader in self._readers]
        self._members = SharedReads(lambda channel: self._drive(channel, self._reading.read(channel)))
        self._stats = SharedReads(lambda channel: self._drive(channel, self._reading.stats(channel)))

    def start(self) -> None:
        """Begin to say that this gateway lives, and to look after those that do not; Redis may not be there yet."""
        for shard in self._shards:
            shard.start()
        for reaper in self._reapers:
            reaper.start()

    async def stop(self) -> None:
        """Write what is still to be written, within a few seconds, and say goodbye."""
        await asyncio.gather(*(reaper.stop() for reaper in self._reapers))
        await asyncio.gather(*(shard.stop() for shard in self._shards))
        await self._members.stop()
        await self._stats.stop()
        for reader in self._readers:
            await reader.aclose(close_connection_pool=True)

    @property
    def num_entries(self) -> int:
        """Entries of this gateway that Redis has."""
        return sum(len(shard.entries) for shard in self._shards)

    async def entered(self, channel: str, client: str, info: dict[str, Any], *, is_kept: bool, is_told: bool) -> None:
        """Write down that a client is in a channel; returns once Redis has it.

        Args:
            info: ``{"user", "client", "conn_info"?, "chan_info"?}``.
            is_kept: others can read it.
            is_told: the channel's members are told, and will be of the leaving.

        Raises:
            NameInvalid: protocol error 107.
            ChannelLayerUnavailable: protocol error 100; not within ``timeout_s``. The client is not in the channel.
        """
        shard = self._shards[self._reading.shard_of(channel)]
        change = self._entries.enter(channel, client, info, is_kept=is_kept, is_told=is_told)
        written = change.written = asyncio.get_running_loop().create_future()
        shard.add(change)
        try:
            async with asyncio.timeout(self._timeout_s):
                await written
        except TimeoutError as exc:
            shard.take_back(change)
            raise ChannelLayerUnavailable from exc
        except asyncio.CancelledError:
            # Whoever asked is gone: nobody would ever say that the client has left.
            shard.take_back(change)
            raise

    def left(self, channel: str, client: str, info: dict[str, Any], *, is_kept: bool, is_told: bool) -> None:
        """Write down that a client has left, soon, behind its entering, and again until Redis has it.

        Nothing happens if it is not in the channel.

        Args:
            info, is_kept, is_told: as they were when it entered.
        """
        self._shards[self._reading.shard_of(channel)].leave(entry_key(channel, client))

    async def read(self, channel: str) -> Members:
        """Say who is in a channel, on all gateways; not to be changed, others may be given the same answer.

        Raises:
            NameInvalid: protocol error 107.
            ChannelLayerUnavailable: protocol error 100.
        """
        return await self._members.read(channel)

    async def stats(self, channel: str) -> Stats:
        """Say how many are in a channel; errors as :meth:`read`."""
        return await self._stats.read(channel)

    async def _drive(self, channel: str, steps: Steps[Result]) -> Result:
        reader = self._readers[self._reading.shard_of(channel)]
        commands = next(steps)
        try:
            async with asyncio.timeout(READ_DEADLINE_S):
                while True:
                    answers = await _pipeline(reader, commands)
                    try:
                        commands = steps.send(answers)
                    except StopIteration as done:
                        return cast("Result", done.value)
        except REDIS_ERRORS as exc:
            raise ChannelLayerUnavailable from exc


async def _pipeline(client: Redis, commands: list[Words]) -> list[Any]:
    async with client.pipeline(transaction=False) as pipeline:
        for words in commands:
            pipeline.execute_command(*words)
        return list(await pipeline.execute())


def _client(url: str, timeout_s: float, max_connections: int) -> Redis:
    options = cast("dict[str, Any]", async_options(timeout_s))
    return Redis(
        connection_pool=BlockingConnectionPool.from_url(
            url, max_connections=max_connections, timeout=timeout_s, **options
        )
    )
