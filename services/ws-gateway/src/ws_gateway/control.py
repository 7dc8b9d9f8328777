"""What other nodes and services tell this gateway: commands of an emulated client, and orders of the server API.

Each comes on a Redis channel that every gateway hears, or on this node's own (:mod:`clarion.orders`).

Source: docs/reference/server-api.md; ADR-0007.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import structlog

from clarion.codes import DisconnectCode
from clarion.errors import ChannelLayerUnavailable, ClarionError, RequestInvalid
from clarion.globs import glob_compile
from clarion.names import redis_control, redis_reply
from clarion.orders import (
    ChannelsAnswer,
    ChannelsQuestion,
    Disconnect,
    Emulation,
    Refresh,
    Selection,
    Subscribe,
    Unsubscribe,
    message_encode,
    order_decode,
)
from ws_gateway.protocol.commands import StreamPosition

if TYPE_CHECKING:
    from ws_gateway.endpoints.client import Client
    from ws_gateway.gateway import Gateway

log = structlog.stdlib.get_logger("ws_gateway.control")

ANSWER_CHANNELS: Final = 1_000
"""Channels of one part of an answer: about 1 ms of work, between two of which the event loop turns."""


class Control:
    """Hears and obeys.

    Args:
        prefix: the channel layer's prefix.
    """

    def __init__(self, gateway: Gateway, prefix: str) -> None:
        self._gateway = gateway
        self._prefix = prefix
        self._handlers: Final[dict[type, Callable[[Any], None]]] = {
            Emulation: self._emulation,
            Disconnect: self._disconnect,
            Unsubscribe: self._unsubscribe,
            Subscribe: self._subscribe,
            Refresh: self._refresh,
            ChannelsQuestion: self._channels,
        }

    def start(self) -> None:
        """Begin to listen."""
        hub = self._gateway.hub
        hub.listen(redis_control(self._prefix), self.received)
        hub.listen(redis_control(self._prefix, self._gateway.node), self.received)

    def received(self, payload: bytes) -> None:
        """Take one order; one that is malformed, or of a newer service, is logged and dropped."""
        try:
            order = order_decode(payload)
            self._handlers[type(order)](order)
        except RequestInvalid as exc:
            log.warning("order.malformed", error=exc.detail[:200])
        except Exception as exc:
            # Whoever has the Redis may send anything; it must not end the hearing of what comes after.
            log.exception("order.failed", error=repr(exc))

    async def emulate(self, node: str, session: str, data: bytes) -> bool:
        """Hand commands to the node that holds a session. Returns whether there is such a node.

        Raises:
            ChannelLayerUnavailable: HTTP 503.
        """
        order = Emulation(session, data)
        if node == self._gateway.node:
            self._emulation(order)
            return True
        return await self._gateway.layer.publish_raw(redis_control(self._prefix, node), message_encode(order)) > 0

    def _emulation(self, order: Emulation) -> None:
        client = self._gateway.clients.by_session(order.session)
        if client is not None:
            client.take(order.data)
            client.run()

    # Orders of the server API

    def _selected(self, order: Selection) -> Iterable[Client]:
        return self._gateway.clients.select(order.user, client=order.client, session=order.session)

    def _disconnect(self, order: Disconnect) -> None:
        spared = set(order.whitelist)
        for client in self._selected(order):
            if client.session.client not in spared:
                client.disconnect(order.code, order.reason)

    def _unsubscribe(self, order: Unsubscribe) -> None:
        for client in self._selected(order):
            client.unsubscribe(order.channel)

    def _subscribe(self, order: Subscribe) -> None:
        since = StreamPosition(*order.since) if order.since is not None else None
        for client in self._selected(order):
            try:
                client.subscribe(order.channel, order.options, since=since, expires_at=order.expires_at)
            except ClarionError as exc:  # e.g. this gateway's clarion.toml has no such namespace
                log.warning("subscribe.refused", channel=order.channel, code=exc.code)

    def _refresh(self, order: Refresh) -> None:
        expired = order.expired or 0 < order.expires_at <= self._gateway.rules.wall()
        for client in self._selected(order):
            if expired:
                client.disconnect(int(DisconnectCode.EXPIRED), DisconnectCode.EXPIRED.reason)
            else:
                client.refresh(expires_at=order.expires_at, info=order.info)

    def _channels(self, question: ChannelsQuestion) -> None:
        """Say which channels have subscribers here: this gateway's part of a survey."""
        self._gateway.start_task(self._tell_channels(question))

    async def _tell_channels(self, question: ChannelsQuestion) -> None:
        try:
            async for channels, is_last in self._parts(question.pattern):
                answer = ChannelsAnswer(self._gateway.presence.uid, channels, is_last)
                await self._gateway.layer.publish_raw(redis_reply(self._prefix, question.id), message_encode(answer))
        except (ChannelLayerUnavailable, RequestInvalid) as exc:
            log.warning("survey.unanswered", code=exc.code)

    async def _parts(self, pattern: str) -> AsyncIterator[tuple[dict[str, int], bool]]:
        """The channels that a glob takes, in parts; whether it is the last one stands beside each."""
        matches = glob_compile(pattern).match if pattern else None
        channels = list(self._gateway.hub.channels().items())
        for start in range(0, max(1, len(channels)), ANSWER_CHANNELS):
            some = channels[start : start + ANSWER_CHANNELS]
            found = {channel: size for channel, size in some if matches is None or matches(channel)}
            is_last = start + ANSWER_CHANNELS >= len(channels)
            if found or is_last:
                yield found, is_last
            await asyncio.sleep(0)
