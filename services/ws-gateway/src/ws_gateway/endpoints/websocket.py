"""``/connection/websocket``: the client protocol over a WebSocket, JSON or Protobuf.

Source: docs/protocol.md, "Endpoints".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from clarion.codes import DisconnectCode
from ws_gateway.credentials import has_session_cookie, header_of
from ws_gateway.endpoints.client import Client
from ws_gateway.endpoints.origins import Origin, origin_of
from ws_gateway.protocol.formats import WEBSOCKET_JSON, WEBSOCKET_PROTOBUF

if TYPE_CHECKING:
    from ws_gateway.gateway import Gateway

log = structlog.stdlib.get_logger("ws_gateway.connection")

PROTOBUF: Final = "centrifuge-protobuf"
JSON: Final = "centrifuge-json"


class WebSocketEndpoint:
    """The ASGI application: it accepts, hands the socket to a :class:`Client`, and returns."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()  # websocket.connect
        offered = scope.get("subprotocols", [])
        subprotocol = next((name for name in (PROTOBUF, JSON) if name in offered), None)
        origin = origin_of(scope, self._gateway.origins)
        if origin is Origin.FOREIGN:
            # After an accept: a browser cannot tell a refused handshake from a broken network.
            log.warning("connection.refused", error="origin", origin=header_of(scope, b"origin"))
            self._gateway.rules.counts.refused["origin"] += 1
            code = DisconnectCode.PERMISSION_DENIED
            await send({"type": "websocket.accept", "subprotocol": subprotocol})
            await send({"type": "websocket.close", "code": int(code), "reason": "this Origin is not allowed"})
            return
        is_from_page = origin is Origin.ALLOWED
        client = Client(
            self._gateway,
            scope["extensions"]["clarion.connection"],
            (WEBSOCKET_PROTOBUF if subprotocol == PROTOBUF else WEBSOCKET_JSON).deflated(
                scope["extensions"].get("clarion.deflate")
            ),
            scope=_kept(scope) if is_from_page and has_session_cookie(scope) else None,
            has_origin=is_from_page,
        )
        await send(
            {
                "type": "websocket.accept",
                "subprotocol": subprotocol,
                "clarion.session": client,
                "clarion.ping": False,  # the protocol has pings of its own
                "clarion.max_size": self._gateway.config.limits.connection_frame_bytes,
            }
        )
        client.start()


def _kept(scope: dict[str, Any]) -> dict[str, Any]:
    """What the session middleware needs of a handshake, until the connect command comes."""
    cookies = [(name, value) for name, value in scope["headers"] if name == b"cookie"]
    return {"type": "websocket", "path": scope["path"], "headers": cookies}
