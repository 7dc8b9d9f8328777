"""What Clarion sends to Redis for a channel, without sending it: one place for asyncio and synchronous callers.

Source: ADR-0006.
"""

from __future__ import annotations

import os
import time
from functools import lru_cache
from typing import Any, Final, NamedTuple

from channels.exceptions import MessageTooLarge
from channels_redis.serializers import registry
from channels_redis.utils import _consistent_hash

from clarion.errors import NamespaceUnknown, NotAvailable
from clarion.layer_config import history_refuse
from clarion.names import channel_check, redis_group, redis_idempotency, redis_meta, redis_stream
from clarion.namespaces import ChannelOptions, ClarionConfig
from clarion.publications import PUBLICATION_TYPE, Message, Published, idempotency_key_check
from clarion.redis_scripts import OPEN, PUBLISH, PUBLISH_ONCE, READ, Script

MESSAGE_MAX_BYTES: Final = 1_048_576
"""Most bytes of one serialised Channels message."""

IDEMPOTENCY_TTL_S: Final = 300
"""How long a publish under an idempotency key is remembered."""

_PLACES_KEPT: Final = 4_096
_OFFSET_MAX: Final = 2**64 - 1


class Command(NamedTuple):
    """One command to one shard.

    Attributes:
        script: runs on these words (number of keys, keys, arguments); None: they are the command.
    """

    shard: int
    script: Script | None
    words: tuple[Any, ...]

    @property
    def short(self) -> tuple[Any, ...]:
        """The command, a script by its digest; on ``NOSCRIPT``, when nothing has been done, :attr:`full` is sent."""
        return self.words if self.script is None else ("EVALSHA", self.script.sha, *self.words)

    @property
    def full(self) -> tuple[Any, ...]:
        """The command with the script's text, which Redis then keeps."""
        return self.words if self.script is None else ("EVAL", self.script.text, *self.words)


class _History(NamedTuple):
    """Where and how long a channel's history is kept: MAXLEN, and milliseconds of stream and meta."""

    meta: str
    stream: str
    size: int
    ttl_ms: int
    meta_ttl_ms: int


class _Place(NamedTuple):
    """Where a channel lives; shard and names are the same for every service of a deployment."""

    shard: int
    group: str
    history: _History | None


class RedisCommands:
    """Builds commands for channels.

    Args:
        shards: how many Redis servers share the channels.
        config: which channels keep a history; None: no channel does.
        serializer_format, symmetric_encryption_keys: as in channels_redis.

    Raises:
        ConfigInvalid: a channel is to keep a history, and messages are encrypted or of a format of one's own: the
            script cannot write an offset into them.
    """

    def __init__(
        self,
        *,
        prefix: str,
        shards: int,
        config: ClarionConfig | None,
        serializer_format: str = "msgpack",
        symmetric_encryption_keys: list[str] | None = None,
    ) -> None:
        self._prefix = prefix
        self._shards = shards
        self._config = config
        self._serializer = registry.get_serializer(
            serializer_format, symmetric_encryption_keys=symmetric_encryption_keys
        )
        self._open = OPEN.get(serializer_format)
        self._script = PUBLISH.get(serializer_format)
        if config is not None and (symmetric_encryption_keys or self._script is None):
            history_refuse(
                config,
                f"serializer_format {serializer_format!r}" if self._script is None else "symmetric_encryption_keys",
            )
        self._place = lru_cache(_PLACES_KEPT)(self._find)

    def is_recoverable(self, channel: str) -> bool:
        """Whether the channel keeps a history."""
        return self._place_of(channel).history is not None

    def serialize(self, message: Message) -> bytes:
        """The bytes of a message.

        Raises:
            MessageTooLarge: over ``MESSAGE_MAX_BYTES``.
        """
        payload: bytes = self._serializer.serialize(message)
        if len(payload) > MESSAGE_MAX_BYTES:
            raise MessageTooLarge
        return payload

    def deserialize(self, payload: bytes) -> Message:
        """The message of these bytes."""
        message: Message = self._serializer.deserialize(payload)
        return message

    def publish(
        self,
        channel: str,
        message: Message,
        *,
        idempotency_key: str | None = None,
        publication_id: str = "",
        skip_history: bool = False,
    ) -> Command:
        """Send a message to a group; a publication to a channel with history also into it.

        Args:
            idempotency_key: the same one within ``IDEMPOTENCY_TTL_S`` gets the first answer and sends nothing.
            publication_id: what a repeat learns as the publication's id.
            skip_history: send it live, without an offset.

        Raises:
            NameInvalid, MessageTooLarge; DataInvalid: the idempotency key.
        """
        place = self._place_of(channel)
        keys: tuple[str, ...] = ()
        once: tuple[Any, ...] = ()
        if idempotency_key is not None:
            keys = (redis_idempotency(self._prefix, channel, idempotency_key_check(idempotency_key)),)
            once = (publication_id, IDEMPOTENCY_TTL_S)
        history = place.history
        if history is None or skip_history or message.get("type") != PUBLICATION_TYPE:
            payload = self.serialize(message)
            if not keys:
                return Command(place.shard, None, ("PUBLISH", place.group, payload))
            return Command(place.shard, PUBLISH_ONCE, (1, *keys, place.group, payload, *once))
        assert self._open is not None  # else the configuration had been refused
        opened = self._open(self.serialize(_stamped(message)))
        names = (2 + len(keys), history.meta, history.stream, *keys)
        kept = (history.size, history.ttl_ms, history.meta_ttl_ms)
        return Command(place.shard, self._script, (*names, place.group, opened, _new_epoch(), *kept, *once))

    def publish_raw(self, name: str, payload: bytes) -> Command:
        """Send bytes on a Redis channel that is no group's: it lives on the shard of its name."""
        return Command(self.shard_of(name), None, ("PUBLISH", name, payload))

    def shard_of(self, name: str) -> int:
        """The shard of a Redis channel."""
        shard: int = _consistent_hash(name, self._shards)
        return shard

    def read(
        self, channel: str, *, since: int | None = None, limit: int | None = None, reverse: bool = False
    ) -> Command:
        """Read a position and publications; the answer is for :func:`clarion.streams.slice_of`.

        Raises:
            NameInvalid; NotAvailable: the channel keeps no history.
        """
        shard, history = self._history_of(channel)
        return Command(
            shard,
            READ,
            (2, history.meta, history.stream, _new_epoch(), history.meta_ttl_ms, *_range(since, limit, reverse)),
        )

    def remove(self, channel: str) -> Command:
        """Remove a channel's publications; its position stays.

        Raises:
            NameInvalid; NotAvailable: the channel keeps no history.
        """
        shard, history = self._history_of(channel)
        return Command(shard, None, ("UNLINK", history.stream))

    def _history_of(self, channel: str) -> tuple[int, _History]:
        place = self._place_of(channel)
        if place.history is None:
            raise NotAvailable("this channel keeps no history")
        return place.shard, place.history

    def _place_of(self, channel: str) -> _Place:
        return self._place(channel) if isinstance(channel, str) else self._find(channel)

    def _find(self, channel: str) -> _Place:
        group = redis_group(self._prefix, channel_check(channel))
        options = self._options_of(channel)
        history = None
        if options is not None and options.has_history:
            history = _History(
                redis_meta(self._prefix, channel),
                redis_stream(self._prefix, channel),
                options.history_size,
                _milliseconds(options.history_ttl_s),
                _milliseconds(options.history_meta_ttl_s),  # never less: the configuration sees to that
            )
        return _Place(_consistent_hash(group, self._shards), group, history)

    def _options_of(self, channel: str) -> ChannelOptions | None:
        if self._config is None:
            return None
        try:
            return self._config.options_of(channel)
        except NamespaceUnknown:
            return None  # a group of one's own consumers: who has the Redis is trusted


def published_of(channel: str, publication_id: str, answer: Any) -> Published:
    """What Redis answered to :meth:`RedisCommands.publish`."""
    if isinstance(answer, int):
        return Published(channel, publication_id)
    offset, epoch, _receivers, *first_id = answer.decode().split(":", 3)
    return Published(channel, first_id[0] if first_id else publication_id, int(offset), epoch)


def receivers_of(answer: Any) -> int:
    """How many subscriptions a publish reached, by the same answer."""
    return answer if isinstance(answer, int) else int(answer.split(b":", 3)[2])


def _range(since: int | None, limit: int | None, reverse: bool) -> tuple[Any, ...]:
    """The range command of a read, without its key; empty for the position only."""
    if limit is not None and limit <= 0:
        return ()
    count = () if limit is None else ("COUNT", limit)
    if not reverse:
        return ("XRANGE", "-" if since is None else f"({_clamped(since)}-0", "+", *count)
    if since is None:
        return ("XREVRANGE", "+", "-", *count)
    # Nothing is before the first; and Redis refuses to go below 0-0.
    return ("XREVRANGE", f"({_clamped(since)}-0", "-", *count) if since > 1 else ()


def _clamped(offset: int) -> int:
    return min(max(offset, 0), _OFFSET_MAX)


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _new_epoch() -> str:
    """A candidate, used if the channel has none. Never from ``random``: its seed may be an application's."""
    return os.urandom(6).hex()


def _stamped(message: Message) -> Message:
    """The message as its publisher makes it: with the time, without what Redis will add."""
    stamped = {"time": time.time_ns() // 1_000_000, **message}
    if "offset" in message or "epoch" in message:
        stamped.pop("offset", None)
        stamped.pop("epoch", None)
    return stamped
