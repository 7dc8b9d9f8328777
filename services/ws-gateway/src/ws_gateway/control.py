"""What other nodes and services tell this gateway: commands of an emulated client, and those of the server API.

Each is a msgpack map on a Redis channel that every gateway hears, or on this node's own. Nothing is stored: a gateway
that is away has no clients.

Source: docs/protocol.md, "Server API"; ADR-0007.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from clarion.codes import DisconnectCode
from clarion.names import redis_control, redis_reply
from clarion.tokens import SubsOptions
from ws_gateway.protocol.commands import StreamPosition

if TYPE_CHECKING:
    from ws_gateway.endpoints.client import Client
    from ws_gateway.gateway import Gateway

log = structlog.stdlib.get_logger("ws_gateway.control")

Order = dict[str, Any]


class Control:
    """Hears and obeys.

    Args:
        prefix: the channel layer's prefix.
    """

    def __init__(self, gateway: Gateway, prefix: str) -> None:
        self._gateway = gateway
        self._prefix = prefix
        self._handlers: Final[dict[str, Callable[[Order], None]]] = {
            "emulation": self._emulation,
            "disconnect": self._disconnect,
            "unsubscribe": self._unsubscribe,
            "subscribe": self._subscribe,
            "refresh": self._refresh,
            "channels": self._channels,
        }

    def start(self) -> None:
        """Begin to listen."""
        hub = self._gateway.hub
        hub.listen(redis_control(self._prefix), self.received)
        hub.listen(redis_control(self._prefix, self._gateway.node), self.received)

    def received(self, payload: bytes) -> None:
        """Take one order; a malformed one is logged and dropped."""
        try:
            order: Order = msgspec.msgpack.decode(payload, type=dict)
            handler = self._handlers.get(order.get("kind", ""))
            if handler is None:
                log.warning("control.unknown", kind=str(order.get("kind"))[:50])
                return
            handler(order)
        except Exception as exc:  # noqa: BLE001 - whoever has the Redis may send anything
            log.error("control.failed", error=repr(exc))

    async def emulate(self, node: str, session: str, data: bytes) -> bool:
        """Hand commands to the node that holds a session. Returns whether there is such a node.

        Raises:
            ChannelLayerUnavailable: HTTP 503.
        """
        if node == self._gateway.node:
            self._emulation({"session": session, "data": data})
            return True
        payload = msgspec.msgpack.encode({"kind": "emulation", "session": session, "data": data})
        return await self._gateway.layer.publish_raw(redis_control(self._prefix, node), payload) > 0

    def _emulation(self, order: Order) -> None:
        client = self._gateway.clients.by_session(order["session"])
        if client is not None:
            client.take(order["data"])
            client.run()

    def _selected(self, order: Order) -> list[Client]:
        clients = self._gateway.clients
        return list(clients.select(order["user"], client=order.get("client", ""), session=order.get("session", "")))

    def _disconnect(self, order: Order) -> None:
        spared = set(order.get("whitelist", ()))
        code, reason = order["code"], order["reason"]
        for client in self._selected(order):
            if client.session.client not in spared:
                client.disconnect(code, reason)

    def _unsubscribe(self, order: Order) -> None:
        for client in self._selected(order):
            client.unsubscribe(order["channel"])

    def _subscribe(self, order: Order) -> None:
        extra = msgspec.convert(order.get("options", {}), SubsOptions)
        since = msgspec.convert(order["since"], StreamPosition) if order.get("since") else None
        for client in self._selected(order):
            client.subscribe(order["channel"], extra, since=since, expires_at=order.get("expires_at", 0))

    def _refresh(self, order: Order) -> None:
        for client in self._selected(order):
            if order.get("expired"):
                client.disconnect(int(DisconnectCode.EXPIRED), DisconnectCode.EXPIRED.reason)
            else:
                client.refresh(expires_at=order.get("expires_at", 0), info=order.get("info"))

    def _channels(self, order: Order) -> None:
        """Say which channels have subscribers here: an answer of a survey."""
        channels = self._gateway.hub.channels()
        payload = msgspec.msgpack.encode({"node": self._gateway.node, "channels": channels})
        name = redis_reply(self._prefix, order["id"])
        self._gateway.start_task(self._reply(name, payload))

    async def _reply(self, name: str, payload: bytes) -> None:
        await self._gateway.layer.publish_raw(name, payload)
