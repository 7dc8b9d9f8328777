"""Which path is whose."""

from __future__ import annotations

from typing import Any

from ws_gateway.problems import CONTENT_TYPE, not_found
from ws_gateway.rooms import PREFIX, RoomEndpoint


class WebSocketRoutes:
    """Plain rooms under ``/ws/``; every other path is refused at the handshake with 404."""

    def __init__(self, room: RoomEndpoint) -> None:
        self._room = room

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"].startswith(PREFIX):
            await self._room(scope, receive, send)
            return
        await receive()
        headers = [(b"content-type", CONTENT_TYPE)]
        await send({"type": "websocket.http.response.start", "status": 404, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": not_found(scope)})
