"""Publishing from synchronous code: WSGI views, commands, Celery tasks.

``async_to_sync(group_send)`` makes a thread, a loop and a connection per call; this sends the same bytes through a
pooled synchronous client (240 against 1,400 requests/s in one worker: ADR-0001).

Source: ADR-0001, ADR-0006.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import redis
from redis.exceptions import NoScriptError, ResponseError

from clarion.broadcasts import Sending, send_all
from clarion.connections import REDIS_ERRORS, sync_options
from clarion.errors import ChannelLayerUnavailable, ClarionError, NameInvalid
from clarion.ids import uuid7
from clarion.layer_config import layer_config
from clarion.namespaces import ClarionConfig
from clarion.publications import Message, Published, idempotency_key_check, publication, tags_check
from clarion.redis_commands import Command, RedisCommands, published_of, receivers_of
from clarion.redis_scripts import READ
from clarion.streams import Batch, Position, Slice, position_batches, positions_of, slice_of
from clarion.values import JSON, PUBLICATION_MAX_BYTES, publication_check

_BREAK_S: Final = 0.5
_PIPELINE_BYTES: Final = 4 * 1024 * 1024
_LAYER_OPTIONS: Final = (
    "prefix", "config", "timeout_s", "max_connections", "publication_bytes", "serializer_format",
    "symmetric_encryption_keys",
)  # fmt: skip


class Publisher:
    """A pool of Redis connections that publishes to groups; safe for threads, and after a fork.

    While Redis is away, calls fail at once for half a second after each failed one: a worker's threads do not all
    wait out the same timeout, so that every caller is answered within about ``timeout_s``.

    Args:
        urls: one Redis URL a shard, in the order that all services agree on.
        prefix: the channel layer's prefix.
        timeout_s: how long Redis may take to connect, and to answer.
        max_connections: connections per shard; further callers wait for one, at most ``timeout_s``.
        publication_bytes: most bytes of a publication's data as JSON.
        config: ``clarion.toml``, as a path or read: which channels keep a history. Without it none does.
        serializer_format, symmetric_encryption_keys: the channel layer's.

    Raises:
        ConfigInvalid: the file is wrong, or a channel is to keep a history while messages are encrypted.
    """

    def __init__(
        self,
        urls: list[str],
        *,
        prefix: str = "asgi",
        config: str | Path | ClarionConfig | None = None,
        timeout_s: float = 1.0,
        max_connections: int = 64,
        publication_bytes: int = PUBLICATION_MAX_BYTES,
        serializer_format: str = "msgpack",
        symmetric_encryption_keys: list[str] | None = None,
    ) -> None:
        self.prefix = prefix
        self.shard_count = len(urls)
        self._timeout_s = timeout_s
        self._publication_bytes = publication_bytes
        self._commands = RedisCommands(
            prefix=prefix,
            shards=len(urls),
            config=layer_config(config),
            serializer_format=serializer_format,
            symmetric_encryption_keys=symmetric_encryption_keys,
        )
        self._shards = [self._client(url, max_connections) for url in urls]
        self._away_until = [0.0] * len(urls)

    def _client(self, url: str, max_connections: int) -> redis.Redis:
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=max_connections,
            timeout=self._timeout_s,
            **cast("dict[str, Any]", sync_options(self._timeout_s)),
        )
        return redis.Redis(connection_pool=pool)

    def publish(
        self,
        channel: str,
        data: JSON,
        *,
        tags: dict[str, str] | None = None,
        info: dict[str, Any] | None = None,
        idempotency_key: str | None = None,
        skip_history: bool = False,
        delta: bool = False,
    ) -> Published:
        """Send one publication to every subscriber of a channel, now.

        Delivered at most once; on a channel that keeps a history exactly once, in order, within that history. Inside a
        transaction use :func:`clarion.publish`, which sends after the commit.

        Args:
            tags: texts by name, for subscribers' filters; at most 4 KiB as JSON.
            info: who published it, if a client did.
            idempotency_key: 1 to 200 printable characters; a repeat on the channel within five minutes returns the
                first result and sends nothing.
            skip_history: send it live, without an offset.
            delta: let clients have it as a difference to the one before, where the channel allows deltas.

        Raises:
            NameInvalid: HTTP 400, protocol error 107.
            DataInvalid: HTTP 400, protocol error 107; data, tags or key.
            PublicationTooLarge: HTTP 413.
            ChannelLayerUnavailable: HTTP 503; safe to repeat with the same idempotency key.
        """
        publication_check(data, self._publication_bytes)
        publication_id = str(uuid7())
        command = self._commands.publish(
            channel,
            publication(data, tags=tags_check(tags), info=info, delta=delta),
            idempotency_key=idempotency_key,
            publication_id=publication_id,
            skip_history=skip_history,
        )
        return published_of(channel, publication_id, self._send(command))

    def broadcast(
        self,
        channels: Sequence[str],
        data: JSON,
        *,
        tags: dict[str, str] | None = None,
        idempotency_key: str | None = None,
        skip_history: bool = False,
        delta: bool = False,
    ) -> list[Published | ClarionError]:
        """Send the same publication to several channels, in one round trip a shard for each 4 MiB.

        Returns:
            For each channel, in their order, what :meth:`publish` would return or raise for it alone.

        Raises:
            DataInvalid, PublicationTooLarge: as :meth:`publish`; nothing has been sent.
        """
        size = len(publication_check(data, self._publication_bytes))
        if idempotency_key is not None:
            idempotency_key_check(idempotency_key)
        message = publication(data, tags=tags_check(tags), delta=delta)
        sendings: list[Sending | ClarionError] = []
        for channel in channels:
            publication_id = str(uuid7())
            try:
                command = self._commands.publish(
                    channel,
                    message,
                    idempotency_key=idempotency_key,
                    publication_id=publication_id,
                    skip_history=skip_history,
                )
            except NameInvalid as exc:
                sendings.append(exc)
            else:
                sendings.append(Sending(channel, publication_id, command))
        return send_all(self.call, sendings, most=max(1, _PIPELINE_BYTES // max(1, size)))

    def publish_message(self, channel: str, message: Message) -> int:
        """Send any Channels message to a group: ``group_send`` for synchronous code.

        Returns:
            How many subscriptions received it: one a process that has the group, whatever the group's size.

        Raises:
            NameInvalid, ChannelLayerUnavailable: as :meth:`publish`.
            MessageTooLarge: the message has over ``MESSAGE_MAX_BYTES`` once serialised.
        """
        return receivers_of(self._send(self._commands.publish(channel, message)))

    def read(self, channel: str, *, since: int | None = None, limit: int | None = None, reverse: bool = False) -> Slice:
        """Read a channel's history: :meth:`clarion.streams.Streams.read`."""
        command = self._commands.read(channel, since=since, limit=limit, reverse=reverse)
        return slice_of(self._send(command), self._commands.deserialize)

    def positions(self, channels: Sequence[str]) -> dict[str, Position]:
        """The tops of several channels: :meth:`clarion.streams.Streams.positions`."""
        batches = position_batches(self._commands, channels)
        return positions_of(batches, [self._send_batch(batch) for batch in batches])

    def remove(self, channel: str) -> None:
        """Remove a channel's publications: :meth:`clarion.streams.Streams.remove`."""
        self._send(self._commands.remove(channel))

    def publish_raw(self, name: str, payload: bytes) -> int:
        """Send bytes on a Redis channel of Clarion's own (:mod:`clarion.names`). Returns how many hear it.

        Raises:
            ChannelLayerUnavailable: HTTP 503.
        """
        return int(self._send(self._commands.publish_raw(name, payload)))

    def shard_of(self, name: str) -> int:
        """The shard of such a channel, for :meth:`call`."""
        return self._commands.shard_of(name)

    def ping(self) -> None:
        """Ask every shard whether it is there.

        Raises:
            ChannelLayerUnavailable: HTTP 503.
        """
        for shard in range(self.shard_count):
            self._send(Command(shard, None, ("PING",)))

    def deserialize(self, payload: bytes) -> Message:
        """The message of what was sent to a group."""
        return self._commands.deserialize(payload)

    def close(self) -> None:
        """Close every connection."""
        for client in self._shards:
            client.close()

    def _send(self, command: Command) -> Any:
        return self.call(command.shard, _command_send, command)

    def _send_batch(self, batch: Batch) -> list[Any]:
        return cast("list[Any]", self.call(batch.shard, _batch_send, batch))

    def call(self, shard: int, send: Callable[[redis.Redis, Any], Any], what: Any) -> Any:
        """Let ``send(client, what)`` talk to a shard, under this publisher's deadlines.

        Raises:
            ChannelLayerUnavailable: HTTP 503; Redis did not answer, or answered that it cannot do this (a full disk or
                memory), or has not been asked, since it was away just now.
        """
        now = time.monotonic()
        if now < self._away_until[shard]:
            raise ChannelLayerUnavailable
        if self._away_until[shard]:
            # One caller asks whether Redis is back; the others go on failing at once until it knows.
            self._away_until[shard] = now + 2 * self._timeout_s
        try:
            answer = send(self._shards[shard], what)
        except ResponseError as exc:
            self._away_until[shard] = 0.0  # it is there: with a full disk or memory it takes what needs neither
            raise ChannelLayerUnavailable from exc
        except REDIS_ERRORS as exc:
            self._away_until[shard] = time.monotonic() + _BREAK_S
            raise ChannelLayerUnavailable from exc
        self._away_until[shard] = 0.0
        return answer


def _command_send(client: redis.Redis, command: Command) -> Any:
    try:
        return client.execute_command(*command.short)
    except NoScriptError:
        return client.execute_command(*command.full)  # nothing of it has been done yet


def _batch_send(client: redis.Redis, batch: Batch) -> list[Any]:
    answers = _pipeline(client, batch)
    if batch.is_script_missing(answers):
        client.script_load(READ.text)
        answers = _pipeline(client, batch)
    return batch.checked(answers)


def _pipeline(client: redis.Redis, batch: Batch) -> list[Any]:
    with client.pipeline(transaction=False) as pipeline:
        for command in batch.commands:
            pipeline.execute_command(*command.short)
        return list(pipeline.execute(raise_on_error=False))


_publisher: Publisher | None = None


def get_publisher() -> Publisher:
    """This process's publisher, made from Django's ``CHANNEL_LAYERS["default"]`` as ``get_channel_layer()`` is."""
    global _publisher
    if _publisher is None:
        from django.conf import settings

        config: dict[str, Any] = cast("Any", settings.CHANNEL_LAYERS)["default"].get("CONFIG", {})
        options = {name: config[name] for name in _LAYER_OPTIONS if name in config}
        _publisher = Publisher(config.get("hosts", ["redis://localhost:6379"]), **options)
    return _publisher
