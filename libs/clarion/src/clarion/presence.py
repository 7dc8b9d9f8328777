"""Presence: who is in a channel now, on all gateways; read by gateways and, synchronously, by other services.

Each gateway writes down its own clients (:mod:`ws_gateway.presence`) and says every few seconds that it lives. An
entry holds no time of its own: it counts as long as its gateway does.

Source: ADR-0008.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar, cast

import msgspec
import redis
from channels_redis.utils import _consistent_hash

from clarion.errors import ChannelLayerUnavailable
from clarion.names import channel_check, redis_group, redis_node, redis_nodes, redis_presence
from clarion.publications import Message
from clarion.publisher import Publisher

DEAD_S: Final = 7.0
"""Silence after which a gateway counts as dead, and nobody is there through it."""

READ_DEADLINE_S: Final = 10.0
"""Longest that one reading may take; a channel of 100,000 clients is read in 100 steps, in about a second."""

_PAGE_ENTRIES: Final = 1_000
_PLACES_KEPT: Final = 4_096

Words: TypeAlias = tuple[Any, ...]
Members: TypeAlias = dict[str, dict[str, Any]]
"""Info by client id: ``{"user", "client", "conn_info"?, "chan_info"?}``."""

Result = TypeVar("Result")
Steps: TypeAlias = Generator[list[Words], list[Any], Result]
"""Yields commands that may travel together, is sent their answers, and returns the result: reading without the I/O."""

Facts: TypeAlias = dict[str, str | int]
"""What is known of a live gateway: uid, name, version, num_clients, num_users, num_channels, uptime (s)."""


class Stats(NamedTuple):
    """How many are in a channel: a user with three tabs is one user and three clients."""

    num_clients: int
    num_users: int


class Entry(NamedTuple):
    """One client in one channel, as Redis holds it.

    Attributes:
        node: the uid of its gateway's process.
        is_kept: it is presence, to be read.
        is_told: the channel was told of its joining and is to be told of its leaving.
        leave: the serialised message that says so; with it a survivor tells for a gateway that crashed.
    """

    node: bytes
    user: bytes
    is_kept: bool
    is_told: bool
    leave: bytes

    @property
    def value(self) -> bytes:
        """The bytes in Redis: ``<node>\\0<user>\\0<flags><leave>``."""
        return b"%b\0%b\0%d%b" % (self.node, self.user, self.is_kept + 2 * self.is_told, self.leave)

    @classmethod
    def of(cls, value: bytes) -> Entry:
        """The entry of a value."""
        node, user, rest = value.split(b"\0", 2)
        flags = rest[0] - 0x30
        return cls(node, user, bool(flags & 1), bool(flags & 2), rest[1:])


class PresenceReading:
    """How presence is read, without the I/O.

    Args:
        shards: how many Redis servers share the channels; a channel's presence is on its group's.
        decode: bytes of a layer message → the message.
    """

    def __init__(self, *, prefix: str, shards: int, decode: Callable[[bytes], Message]) -> None:
        self._prefix = prefix
        self._decode = decode
        self._shards = shards
        self._shard_of = lru_cache(_PLACES_KEPT)(self._find_shard)

    def shard_of(self, channel: str) -> int:
        """The server that a channel is on.

        Raises:
            NameInvalid: HTTP 400, protocol error 107.
        """
        return self._shard_of(channel) if isinstance(channel, str) else self._find_shard(channel)

    def read(self, channel: str) -> Steps[Members]:
        """Who is in a channel."""
        members: Members = {}

        def take(client: bytes, entry: Entry) -> None:
            members[client.decode()] = self._decode(entry.leave)["info"]

        yield from self._entries(channel, take)
        return members

    def stats(self, channel: str) -> Steps[Stats]:
        """How many are in a channel."""
        users: dict[bytes, bytes] = {}

        def take(client: bytes, entry: Entry) -> None:
            users[client] = entry.user

        yield from self._entries(channel, take)
        return Stats(len(users), len(set(users.values())))

    def nodes(self) -> Steps[list[Facts]]:
        """The facts of all live gateways, from any one shard."""
        time_answer, scores = yield [("TIME",), self._beats()]
        uids = sorted(_live(time_answer, scores))
        if not uids:
            return []
        found = yield [("HGET", redis_node(self._prefix, uid.decode()), "f") for uid in uids]
        return [msgspec.json.decode(facts) for facts in found if facts]

    def _entries(self, channel: str, take: Callable[[bytes, Entry], None]) -> Steps[None]:
        """By pages, each a bounded step for Redis and for an event loop; one entry may come twice."""
        key = redis_presence(self._prefix, channel)
        time_answer, scores, page = yield [("TIME",), self._beats(), ("HSCAN", key, 0, "COUNT", _PAGE_ENTRIES)]
        live = _live(time_answer, scores)
        while True:
            cursor, values = page
            for client, value in values.items():
                entry = Entry.of(value)
                if entry.is_kept and entry.node in live:
                    take(client, entry)
            if not cursor:
                return
            (page,) = yield [("HSCAN", key, cursor, "COUNT", _PAGE_ENTRIES)]

    def _beats(self) -> Words:
        return ("ZRANGE", redis_nodes(self._prefix), 0, -1, "WITHSCORES")

    def _find_shard(self, channel: str) -> int:
        return cast("int", _consistent_hash(redis_group(self._prefix, channel_check(channel)), self._shards))


def _live(time_answer: tuple[int, int], scores: Sequence[Any]) -> set[bytes]:
    """The gateways that were heard of, by Redis's clock, within ``DEAD_S``."""
    seconds, microseconds = time_answer
    dead_before = seconds * 1000 + microseconds // 1000 - DEAD_S * 1000
    return {uid for uid, score in zip(scores[::2], scores[1::2], strict=True) if float(score) >= dead_before}


class SyncPresence:
    """Presence for synchronous code: WSGI views, commands; safe for threads, and after a fork.

    Args:
        publisher: whose connections are used (:func:`clarion.publisher.get_publisher`).
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._reading = PresenceReading(
            prefix=publisher.prefix, shards=publisher.shard_count, decode=publisher.deserialize
        )

    def read(self, channel: str) -> Members:
        """Say who is in a channel.

        Raises:
            NameInvalid: HTTP 400, protocol error 107.
            ChannelLayerUnavailable: HTTP 503.
        """
        return self._drive(self._reading.shard_of(channel), self._reading.read(channel))

    def stats(self, channel: str) -> Stats:
        """Say how many are in a channel; errors as :meth:`read`."""
        return self._drive(self._reading.shard_of(channel), self._reading.stats(channel))

    def nodes(self) -> list[Facts]:
        """Return the facts of all live gateways. They beat on every shard: the first that answers is enough.

        Raises:
            ChannelLayerUnavailable: HTTP 503; no shard answers.
        """
        for shard in range(self._publisher.shard_count - 1):
            with suppress(ChannelLayerUnavailable):
                return self._drive(shard, self._reading.nodes())
        return self._drive(self._publisher.shard_count - 1, self._reading.nodes())

    def _drive(self, shard: int, steps: Steps[Result]) -> Result:
        deadline = time.monotonic() + READ_DEADLINE_S
        commands = next(steps)
        while True:
            answers = self._publisher.call(shard, _pipeline, commands)
            try:
                commands = steps.send(answers)
            except StopIteration as done:
                return cast("Result", done.value)
            if time.monotonic() > deadline:
                raise ChannelLayerUnavailable("reading the channel's presence takes too long")


def _pipeline(client: redis.Redis, commands: list[Words]) -> list[Any]:
    with client.pipeline(transaction=False) as pipeline:
        for words in commands:
            pipeline.execute_command(*words)
        return list(pipeline.execute())
