"""Publishing from synchronous code: WSGI views, commands, Celery tasks.

``async_to_sync(group_send)`` makes a thread, a loop and a connection per call; this sends the same bytes through a
pooled synchronous client (240 against 1,400 requests/s in one worker: ADR-0001).

Source: ADR-0001.
"""

from __future__ import annotations

import time
from typing import Any, Final, cast

import redis
from channels.exceptions import MessageTooLarge
from channels_redis.serializers import registry
from channels_redis.utils import _consistent_hash

from clarion.connections import REDIS_ERRORS, sync_options
from clarion.errors import ChannelLayerUnavailable
from clarion.ids import uuid7
from clarion.names import channel_check, redis_group
from clarion.publications import Message, publication
from clarion.values import JSON, PUBLICATION_MAX_BYTES, publication_check

MESSAGE_MAX_BYTES: Final = 1_048_576
"""Most bytes of one serialised Channels message."""

_BREAK_S: Final = 0.5
_LAYER_OPTIONS: Final = (
    "prefix", "timeout_s", "max_connections", "publication_bytes", "serializer_format", "symmetric_encryption_keys",
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
    """

    def __init__(
        self,
        urls: list[str],
        *,
        prefix: str = "asgi",
        timeout_s: float = 1.0,
        max_connections: int = 64,
        publication_bytes: int = PUBLICATION_MAX_BYTES,
        serializer_format: str = "msgpack",
        symmetric_encryption_keys: list[str] | None = None,
    ) -> None:
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._publication_bytes = publication_bytes
        self._serializer = registry.get_serializer(
            serializer_format, symmetric_encryption_keys=symmetric_encryption_keys
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

    def publish(self, channel: str, data: JSON) -> str:
        """Send one publication to every subscriber of a channel, now. Returns its id.

        Delivered at most once. Inside a transaction use :func:`clarion.publish`, which sends after the commit.

        Raises:
            NameInvalid: HTTP 400, protocol error 107.
            DataInvalid: HTTP 400, protocol error 107.
            PublicationTooLarge: HTTP 413.
            ChannelLayerUnavailable: HTTP 503.
        """
        channel_check(channel)
        publication_check(data, self._publication_bytes)
        self.publish_message(channel, publication(data))
        return str(uuid7())

    def publish_message(self, channel: str, message: Message) -> int:
        """Send any Channels message to a group: ``group_send`` for synchronous code.

        Returns:
            How many subscriptions received it: one a process that has the group, whatever the group's size.

        Raises:
            NameInvalid, ChannelLayerUnavailable: as :meth:`publish`.
            MessageTooLarge: the message has over ``MESSAGE_MAX_BYTES`` once serialised.
        """
        name = redis_group(self._prefix, channel_check(channel))
        payload = self._serializer.serialize(message)
        if len(payload) > MESSAGE_MAX_BYTES:
            raise MessageTooLarge
        return int(self._call(_consistent_hash(name, len(self._shards)), "PUBLISH", name, payload))

    def ping(self) -> None:
        """Ask every shard whether it is there.

        Raises:
            ChannelLayerUnavailable: HTTP 503.
        """
        for shard in range(len(self._shards)):
            self._call(shard, "PING")

    def close(self) -> None:
        """Close every connection."""
        for client in self._shards:
            client.close()

    def _call(self, shard: int, *command: Any) -> Any:
        now = time.monotonic()
        if now < self._away_until[shard]:
            raise ChannelLayerUnavailable
        if self._away_until[shard]:
            # One caller asks whether Redis is back; the others go on failing at once until it knows.
            self._away_until[shard] = now + 2 * self._timeout_s
        try:
            answer = self._shards[shard].execute_command(*command)
        except REDIS_ERRORS as exc:
            self._away_until[shard] = time.monotonic() + _BREAK_S
            raise ChannelLayerUnavailable from exc
        self._away_until[shard] = 0.0
        return answer


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
