"""The channel layer: stock pub/sub on the wire, with what the stock layer lacks.

``ClarionChannelLayer`` speaks exactly what ``channels_redis.pubsub.RedisPubSubChannelLayer`` speaks at the same prefix
and serializer, both ways: a stock service can ``group_send`` to our clients and receive what we send. It adds explicit
deadlines and pool sizes, checked names and sizes, bounded queues, an error instead of a hang when Redis is away,
``on_disconnect`` / ``on_reconnect`` that are called, and the history of recoverable channels.

Source: ADR-0001, ADR-0006.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, cast

import structlog
from channels_redis.pubsub import RedisPubSubChannelLayer, RedisPubSubLoopLayer, RedisSingleShardConnection
from channels_redis.utils import _wrap_close, decode_hosts
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ResponseError

from clarion.channel_owners import ChannelOwners
from clarion.connections import REDIS_ERRORS, async_options
from clarion.errors import ChannelLayerUnavailable
from clarion.ids import uuid7
from clarion.layer_config import layer_config
from clarion.names import channel_check
from clarion.namespaces import ClarionConfig
from clarion.publications import Message, Published, publication, tags_check
from clarion.read_lanes import command_send
from clarion.redis_commands import Command, RedisCommands, published_of
from clarion.refusals import is_disk_full, redis_reason
from clarion.values import JSON, PUBLICATION_MAX_BYTES, publication_check

log = structlog.stdlib.get_logger("clarion.layers")

PING_INTERVAL_S: Final = 3.0
"""How often an idle receiving connection is asked whether it lives."""

RETRY_FIRST_S: Final = 0.1
RETRY_MOST_S: Final = 2.0

Callback = Callable[[], Awaitable[None] | None]


class ClarionChannelLayer(RedisPubSubChannelLayer):  # type: ignore[misc]
    """A Channels layer on Redis pub/sub: the ``BACKEND`` of ``CHANNEL_LAYERS["default"]``.

    Delivered at most once; on a channel that keeps a history exactly once, in order, within that history.
    ``send``, ``group_send``, ``publish``, ``group_add`` and ``new_channel`` raise
    :class:`~clarion.errors.ChannelLayerUnavailable` when Redis does not answer within ``timeout_s``.

    Args:
        hosts: Redis URLs, or what channels_redis takes as ``hosts``; several are shards.
        prefix: of every Redis name; two deployments on one server need two.
        config: ``clarion.toml``, as a path or read: which channels keep a history. Without it none does.
        timeout_s: how long Redis may take to connect, and to answer.
        max_connections: connections for sending, per shard and event loop; further senders wait for one.
        publication_bytes: most bytes of a publication's data as JSON; :func:`clarion.publish` keeps to it.
        capacity: messages that may wait for one layer channel; over it the oldest is dropped, counted and logged.
        on_disconnect, on_reconnect: called (and awaited) when the receiving connection was lost, and stands again.
        serializer_format, symmetric_encryption_keys: as in channels_redis.

    Raises:
        ConfigInvalid: the file is wrong, or a channel is to keep a history while messages are encrypted.
    """

    def __init__(
        self,
        hosts: list[Any] | None = None,
        *,
        prefix: str = "asgi",
        config: str | Path | ClarionConfig | None = None,
        timeout_s: float = 1.0,
        max_connections: int = 64,
        publication_bytes: int = PUBLICATION_MAX_BYTES,
        capacity: int = 1_000,
        on_disconnect: Callback | None = None,
        on_reconnect: Callback | None = None,
        serializer_format: str = "msgpack",
        symmetric_encryption_keys: list[str] | None = None,
    ) -> None:
        super().__init__(symmetric_encryption_keys=symmetric_encryption_keys, serializer_format=serializer_format)
        self.prefix = prefix
        self._hosts = [_host_options(host, timeout_s) for host in decode_hosts(hosts)]
        self.commands = RedisCommands(
            prefix=prefix,
            shards=len(self._hosts),
            config=layer_config(config),
            serializer_format=serializer_format,
            symmetric_encryption_keys=symmetric_encryption_keys,
        )
        self.timeout_s = timeout_s
        self.max_connections = max_connections
        self.publication_bytes = publication_bytes
        self.capacity = capacity
        self.dropped = 0
        """Messages that layer channels have dropped because nobody took them in time."""
        self.on_disconnect = on_disconnect
        self.on_reconnect = on_reconnect

    def serialize(self, message: Message) -> bytes:
        """Serialise a message.

        Raises:
            MessageTooLarge: over ``MESSAGE_MAX_BYTES`` once serialised.
        """
        return self.commands.serialize(message)

    async def publish(
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

        Args:
            channel, data, tags, idempotency_key, skip_history, delta: as
                :meth:`clarion.publisher.Publisher.publish`.
            info: who published it, if a client did.

        Raises:
            NameInvalid, DataInvalid, PublicationTooLarge, ChannelLayerUnavailable: as there.
        """
        publication_check(data, self.publication_bytes)
        message = publication(data, tags=tags_check(tags), info=info, delta=delta)
        return await self.publication_send(channel, message, idempotency_key=idempotency_key, skip_history=skip_history)

    async def publication_send(
        self,
        channel: str,
        message: Message,
        *,
        publication_id: str | None = None,
        idempotency_key: str | None = None,
        skip_history: bool = False,
    ) -> Published:
        """Send the message of a publication that has been checked: ``group_send`` that tells its place.

        Args:
            publication_id: what stands for it in logs; None makes one.

        Raises:
            NameInvalid, DataInvalid, ChannelLayerUnavailable: as :meth:`publish`.
            MessageTooLarge: over ``MESSAGE_MAX_BYTES`` once serialised.
        """
        publication_id = publication_id or str(uuid7())
        command = self.commands.publish(
            channel,
            message,
            idempotency_key=idempotency_key,
            publication_id=publication_id,
            skip_history=skip_history,
        )
        return published_of(channel, publication_id, await self._get_layer().execute(command))

    async def publish_raw(self, name: str, payload: bytes) -> int:
        """Send bytes on a Redis channel of Clarion's own (:mod:`clarion.names`). Returns how many hear it.

        Raises:
            ChannelLayerUnavailable: Redis did not answer in time.
        """
        return int(await self._get_layer().execute(self.commands.publish_raw(name, payload)))

    def _get_layer(self) -> _LoopLayer:
        loop = asyncio.get_running_loop()
        layer = self._layers.get(loop)
        if layer is None:
            layer = self._layers[loop] = _LoopLayer(self, self._hosts)
            _wrap_close(self, loop)
        return cast("_LoopLayer", layer)


def _host_options(host: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    return {**async_options(timeout_s), "health_check_interval": PING_INTERVAL_S, **host}


class _LoopLayer(RedisPubSubLoopLayer):  # type: ignore[misc]
    """The layer's state on one event loop."""

    def __init__(self, layer: ClarionChannelLayer, hosts: list[dict[str, Any]]) -> None:
        super().__init__(
            hosts=hosts,
            prefix=layer.prefix,
            on_disconnect=layer.on_disconnect,
            on_reconnect=layer.on_reconnect,
            channel_layer=layer,
        )
        self._shards = [_ShardConnection(host, self) for host in hosts]
        self._groups_of: dict[str, set[str]] = {}
        self._owners = ChannelOwners(self._give_up)

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Make a layer channel; received from, it ends with the task that made it: a consumer's, in Channels."""
        channel = cast("str", await super().new_channel(prefix))
        self._owners.add(channel)
        return channel

    async def receive(self, channel: str) -> Message:
        """Wait for the next message of a layer channel.

        Cancelled, it gives the channel up and takes it out of its groups: a consumer that ended by an exception has not
        called ``group_discard``, and the stock layer keeps such members, and their subscriptions, for good.
        """
        try:
            with self._owners.receiving(channel):
                return cast("Message", await super().receive(channel))
        except asyncio.CancelledError:
            self._owners.remove(channel)
            for group in self._groups_of.pop(channel, ()):
                await super().group_discard(group, channel)
            raise

    def _give_up(self, channel: str) -> None:
        """Drop a channel that nobody will receive from again; its shard unsubscribes a moment later."""
        if self.channels.pop(channel, None) is None:
            return  # flushed meanwhile
        self._get_shard(channel).forget(channel)
        for group in self._groups_of.pop(channel, ()):
            name = self._get_group_channel_name(group)
            members = self.groups.get(name, set())
            members.discard(channel)
            if not members:
                self.groups.pop(name, None)
                self._get_shard(name).forget(name)

    async def group_add(self, group: str, channel: str) -> None:
        """Add a layer channel of this process to a group; the subscription has been sent to Redis on return."""
        channel_check(group)
        if channel in self.channels:  # noted first: a call that Redis fails leaves a member behind, too
            self._groups_of.setdefault(channel, set()).add(group)
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """Take a layer channel out of a group; nothing happens if it is not in it."""
        await super().group_discard(channel_check(group), channel)
        groups = self._groups_of.get(channel, set())
        groups.discard(group)
        if not groups:
            self._groups_of.pop(channel, None)

    async def group_send(self, group: str, message: Message) -> None:
        """Send a message to every member of a group: one ``PUBLISH``, whatever the group's size.

        A publication (:func:`clarion.publications.publication`) to a channel that keeps a history gets an offset and is
        kept; any other message is delivered live.
        """
        await self.execute(self.channel_layer.commands.publish(group, message))

    async def execute(self, command: Command) -> Any:
        """Send one command to its shard and return the answer."""
        return await self._shards[command.shard].execute(command)

    async def _subscribe_to_channel(self, channel: str) -> None:
        self.channels[channel] = _DroppingQueue(self.channel_layer)
        try:
            await self._get_shard(channel).subscribe(channel)
        except BaseException:
            # Else the next receive() would wait on a queue that nothing fills.
            del self.channels[channel]
            raise


class _DroppingQueue(asyncio.Queue[bytes]):
    """A bounded mailbox: a consumer that does not keep up loses its oldest messages, and the log says so."""

    def __init__(self, layer: ClarionChannelLayer) -> None:
        super().__init__()
        self._layer = layer
        self.dropped = 0

    def put_nowait(self, item: bytes) -> None:
        if self.qsize() >= self._layer.capacity:
            self.get_nowait()
            self.dropped += 1
            self._layer.dropped += 1
            if self.dropped & (self.dropped - 1) == 0:  # 1, 2, 4, 8 …: a flood must not flood the log, too
                log.warning("layer.message_dropped", dropped=self.dropped, capacity=self._layer.capacity)
        super().put_nowait(item)


class _ShardConnection(RedisSingleShardConnection):  # type: ignore[misc]
    """One Redis server: a pool to send through, a connection to receive from."""

    def __init__(self, host: dict[str, Any], layer: _LoopLayer) -> None:
        super().__init__(host, layer)
        self._sender: Redis | None = None
        self._forgotten: list[str] = []

    async def publish(self, channel: str, message: bytes) -> None:
        await self.execute(Command(0, None, ("PUBLISH", channel, message)))

    async def execute(self, command: Command) -> Any:
        # Not under the stock lock: that allows one publish in flight per loop, and a black hole would hold it.
        if self._sender is None:
            self._sender = self._make_sender()
        try:
            return await command_send(self._sender, command)
        except REDIS_ERRORS as exc:
            raise ChannelLayerUnavailable from exc

    def _make_sender(self) -> Redis:
        layer: ClarionChannelLayer = self.channel_layer.channel_layer
        options = {**self.host, "max_connections": layer.max_connections, "timeout": layer.timeout_s}
        # A PING before a command finds nothing that the command would not; a full disk refuses it, and no PUBLISH.
        options["health_check_interval"] = 0
        address = options.pop("address", None)
        if address is None:
            return Redis(connection_pool=BlockingConnectionPool(**options))
        return Redis(connection_pool=BlockingConnectionPool.from_url(address, **options))

    async def subscribe(self, channel: str) -> None:
        try:
            await super().subscribe(channel)
        except REDIS_ERRORS as exc:
            raise ChannelLayerUnavailable from exc

    async def unsubscribe(self, channel: str) -> None:
        try:
            await super().unsubscribe(channel)
        except REDIS_ERRORS:
            # Gone with the connection; after a reconnect it must not be subscribed to again.
            self._subscribed_to.discard(channel)
            self._pubsub.channels.pop(channel.encode(), None)

    def forget(self, channel: str) -> None:
        """Unsubscribe soon, from code that cannot wait for it."""
        self._forgotten.append(channel)

    async def flush(self) -> None:
        if self._sender is not None:
            await self._sender.aclose(close_connection_pool=True)
            self._sender = None
        await super().flush()

    async def _do_receiving(self) -> None:
        """Hand on what arrives; on losing Redis say so, and come back with bounded back-off."""
        delay_s = 0.0
        while True:
            try:
                await self._receive_next()
                if delay_s:
                    delay_s = 0.0
                    log.warning("layer.reconnected")
                    await _call_back("on_reconnect", self.channel_layer.on_reconnect)
            except REDIS_ERRORS as exc:
                if not delay_s:
                    log.warning("layer.disconnected", error=redis_reason(exc))
                    await _call_back("on_disconnect", self.channel_layer.on_disconnect)
                delay_s = min(max(RETRY_FIRST_S, 2 * delay_s), RETRY_MOST_S)
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _receive_next(self) -> None:
        while self._forgotten:
            name = self._forgotten.pop()
            if name not in self.channel_layer.groups and name not in self.channel_layer.channels:  # joined meanwhile?
                await self.unsubscribe(name)
        if self._pubsub is not None and self._pubsub.subscribed:
            # A timeout here is an idle group, not a fault; redis-py reconnects and resubscribes by itself.
            try:
                self._receive_message(await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1))
            except ResponseError as exc:
                if not is_disk_full(exc):  # an answer to PING, too
                    raise
            await self._check_silence(self._pubsub.connection)
        else:
            await asyncio.sleep(0.1)

    async def _check_silence(self, connection: Any) -> None:
        """Give up a connection that answers no PING: redis-py sends them, and does not look for the answers."""
        due = connection.next_health_check  # moved on by whatever is read; 0 before the first
        if due and asyncio.get_running_loop().time() > due + PING_INTERVAL_S:
            await connection.disconnect(nowait=True)
            raise ConnectionError("no answer to PING")


async def _call_back(name: str, callback: Callback | None) -> None:
    """Call what the user gave to be told by."""
    if callback is None:
        return
    try:
        done = callback()
        if done is not None:
            await done
    except Exception as exc:  # noqa: BLE001 - the user's callback must not end the receiving task
        log.error("layer.callback_failed", callback=name, error=repr(exc))
