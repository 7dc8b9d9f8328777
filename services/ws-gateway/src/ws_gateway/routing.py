"""Which path is whose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ws_gateway.endpoints.websocket import WebSocketEndpoint
from ws_gateway.problems import refuse_handshake
from ws_gateway.rooms import PREFIX, RoomEndpoint

CONNECTION: Final = "/connection/websocket"
LAB: Final = "/lab/"
LAB_SOCKETS: Final = PREFIX.encode() + b"lab/"


class HttpRoutes:
    """The client protocol's endpoints, and Django's pages under ``/lab/`` if the lab is on; all else is health's."""

    def __init__(self, endpoints: Mapping[str, Any], health: Any, lab: Any | None) -> None:
        self._endpoints = endpoints
        self._health = health
        self._lab = lab

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        endpoint = self._endpoints.get(scope["path"])
        if endpoint is not None:
            await endpoint(scope, receive, send)
        elif self._lab is not None and (scope["path"] + "/").startswith(LAB):
            await self._lab(scope, receive, send)
        else:
            await self._health(scope, receive, send)


class WebSocketRoutes:
    """The client protocol, plain rooms under ``/ws/``, the lab's sockets if it is on; else 404 at the handshake.

    ``/ws/lab/`` itself, and ``/ws/lab:x/``, are plain rooms as ever; no channel's name holds a slash.
    """

    def __init__(self, connection: WebSocketEndpoint, room: RoomEndpoint, lab: Any | None = None) -> None:
        self._connection = connection
        self._room = room
        self._lab = lab

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        # As it was sent: `/ws/lab%2Fx/` is a room of a wrong name, and is told so.
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        if self._lab is not None and path.startswith(LAB_SOCKETS) and path != LAB_SOCKETS:
            await self._lab(scope, receive, send)
        elif scope["path"] == CONNECTION:
            await self._connection(scope, receive, send)
        elif scope["path"].startswith(PREFIX):
            await self._room(scope, receive, send)
        else:
            await refuse_handshake(scope, receive, send, 404)
