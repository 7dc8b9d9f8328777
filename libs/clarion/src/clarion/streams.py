"""Streams: the history of a recoverable channel, read by position.

A publication's offset is its place in the channel's stream: 1, 2, 3, and so on without a gap. The epoch is the
stream's identity: when Redis has lost the stream, another one begins, with an epoch of its own.

Source: docs/protocol.md, "History"; ADR-0006.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec
import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import NoScriptError

from clarion.connections import REDIS_ERRORS, async_options
from clarion.errors import ChannelLayerUnavailable
from clarion.namespaces import ClarionConfig
from clarion.publications import Message, Publication, publication_of
from clarion.read_lanes import ReadLanes, command_send, pipeline
from clarion.redis_commands import Command, RedisCommands
from clarion.redis_scripts import READ

log = structlog.stdlib.get_logger("clarion.streams")

_COMMANDS_PER_BATCH: Final = 1_000


class Position(NamedTuple):
    """A place in a channel's stream.

    Attributes:
        offset: of the last publication before it; 0 is before the first.
        epoch: the stream's identity: offsets of another epoch mean nothing here.
    """

    offset: int
    epoch: str


class Slice(msgspec.Struct):
    """A part of a channel's history, and the position it was read at.

    Attributes:
        offset, epoch: the stream's top when it was read.
        publications: oldest first; newest first when read in reverse.
    """

    offset: int
    epoch: str
    publications: list[Publication]

    def covers(self, since: int) -> bool:
        """Whether a slice read forward holds every publication after ``since`` up to the top."""
        return self.offset - since == len(self.publications) and (
            not self.publications or self.publications[0].offset == since + 1
        )


class Streams:
    """Histories of channels on all shards, for asyncio; used on one event loop.

    Args:
        urls: one Redis URL a shard, in the order that all services agree on.
        config: which channels keep a history, and how long.
        prefix: the channel layer's prefix.
        timeout_s: how long Redis may take to connect, and to answer.
        max_connections: connections per shard; further callers wait for one, at most ``timeout_s``.
        decode: bytes of a layer message → the message (the channel layer's ``deserialize``).
    """

    def __init__(
        self,
        urls: list[str],
        *,
        config: ClarionConfig,
        decode: Callable[[bytes], Message],
        prefix: str = "asgi",
        timeout_s: float = 1.0,
        max_connections: int = 16,
    ) -> None:
        self._commands = RedisCommands(prefix=prefix, shards=len(urls), config=config)
        self._decode = decode
        self._shards = [_client(url, timeout_s, max_connections) for url in urls]
        self._reads = [ReadLanes(client) for client in self._shards]
        self._answered = 0

    @property
    def answered(self) -> int:
        """How many reads Redis has answered so far: whoever waits for one can tell a slow Redis from a long queue."""
        return self._answered + sum(reads.answered for reads in self._reads)

    async def read(
        self, channel: str, *, since: int | None = None, limit: int | None = None, reverse: bool = False
    ) -> Slice:
        """Read a channel's position and, in one step with it, publications.

        Args:
            since: offsets over it; in reverse, below it. None: from the oldest; in reverse, from the newest.
            limit: most publications; 0 is the position only, None is all.

        Raises:
            NameInvalid: HTTP 400, protocol error 107.
            NotAvailable: protocol error 108; the channel keeps no history.
            ChannelLayerUnavailable: HTTP 503; Redis did not answer in time.
        """
        command = self._commands.read(channel, since=since, limit=limit, reverse=reverse)
        try:
            answer = await self._reads[command.shard].send(command)
        except REDIS_ERRORS as exc:
            raise ChannelLayerUnavailable from exc
        return slice_of(answer, self._decode)

    async def positions(self, channels: Sequence[str]) -> dict[str, Position]:
        """The tops of several channels: one round trip a shard. Channels without history are left out.

        Raises:
            NameInvalid: HTTP 400.
            ChannelLayerUnavailable: HTTP 503.
        """
        batches = position_batches(self._commands, channels)
        answers = await asyncio.gather(*(self._send_batch(batch) for batch in batches))
        return positions_of(batches, answers)

    async def remove(self, channel: str) -> None:
        """Remove a channel's publications; its position stays.

        Raises:
            NameInvalid, NotAvailable, ChannelLayerUnavailable: as :meth:`read`.
        """
        command = self._commands.remove(channel)
        try:
            await command_send(self._shards[command.shard], command)
        except REDIS_ERRORS as exc:
            raise ChannelLayerUnavailable from exc

    async def close(self) -> None:
        """Close every connection."""
        for reads in self._reads:
            await reads.stop()
        for client in self._shards:
            await client.aclose(close_connection_pool=True)

    async def _send_batch(self, batch: Batch) -> list[Any]:
        client = self._shards[batch.shard]
        try:
            answers = await pipeline(client, batch.commands)
            if batch.is_script_missing(answers):
                await client.script_load(READ.text)
                answers = await pipeline(client, batch.commands)
            self._answered += len(answers)
            return batch.checked(answers)
        except REDIS_ERRORS as exc:
            raise ChannelLayerUnavailable from exc


def slice_of(answer: Any, decode: Callable[[bytes], Message]) -> Slice:
    """What Redis answered to :meth:`clarion.redis_commands.RedisCommands.read`."""
    offset, epoch, entries = answer
    found = (_entry(fields[1], decode) for _, fields in entries)
    return Slice(int(offset), epoch.decode(), [publication for publication in found if publication is not None])


def _entry(payload: bytes, decode: Callable[[bytes], Message]) -> Publication | None:
    """The publication of a stream's entry; None: it is none, so that the slice has a gap, which is told."""
    try:
        return publication_of(decode(payload))
    except Exception as exc:  # noqa: BLE001 - another serializer's, say: the layer was set up anew within the history
        log.warning("stream.undecodable", error=type(exc).__name__)
        return None


class Batch(NamedTuple):
    """Reads of positions on one shard that travel together."""

    shard: int
    channels: list[str]
    commands: list[Command]

    @staticmethod
    def is_script_missing(answers: list[Any]) -> bool:
        """Whether the answers say that Redis has to be given the script first."""
        return any(isinstance(answer, NoScriptError) for answer in answers)

    @staticmethod
    def checked(answers: list[Any]) -> list[Any]:
        """The answers, unless one is an error: that is raised."""
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers


def position_batches(commands: RedisCommands, channels: Iterable[str]) -> list[Batch]:
    """What to ask for these channels' positions; channels without history are left out."""
    by_shard: dict[int, Batch] = {}
    full: list[Batch] = []
    for channel in channels:
        if not commands.is_recoverable(channel):
            continue
        command = commands.read(channel, limit=0)
        batch = by_shard.setdefault(command.shard, Batch(command.shard, [], []))
        batch.channels.append(channel)
        batch.commands.append(command)
        if len(batch.commands) == _COMMANDS_PER_BATCH:
            full.append(by_shard.pop(command.shard))
    return [*full, *by_shard.values()]


def positions_of(batches: list[Batch], answers: Iterable[list[Any]]) -> dict[str, Position]:
    """What Redis answered to the batches, in their order."""
    return {
        channel: Position(int(answer[0]), answer[1].decode())
        for batch, batch_answers in zip(batches, answers, strict=True)
        for channel, answer in zip(batch.channels, batch_answers, strict=True)
    }


def _client(url: str, timeout_s: float, max_connections: int) -> Redis:
    options = cast("dict[str, Any]", async_options(timeout_s))
    return Redis(
        connection_pool=BlockingConnectionPool.from_url(
            url, max_connections=max_connections, timeout=timeout_s, **options
        )
    )
