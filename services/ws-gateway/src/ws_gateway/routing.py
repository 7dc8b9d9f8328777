"""Which path is whose."""

from __future__ import annotations

from typing import Any, Final

from ws_gateway.problems import refuse_handshake
from ws_gateway.rooms import PREFIX, RoomEndpoint

LAB: Final = "/lab/"
LAB_SOCKETS: Final = PREFIX.encode() + b"lab/"


class HttpRoutes:
    """Django's pages under ``/lab/`` if the lab is on; everything else is health's, or nothing."""

    def __init__(self, health: Any, lab: Any | None) -> None:
        self._health = health
        self._lab = lab

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if self._lab is not None and (scope["path"] + "/").startswith(LAB):
            await self._lab(scope, receive, send)
        else:
            await self._health(scope, receive, send)


class WebSocketRoutes:
    """Plain rooms under ``/ws/``, the lab's sockets under ``/ws/lab/`` if it is on; else 404 at the handshake.

    ``/ws/lab/`` itself, and ``/ws/lab:x/``, are plain rooms as ever; no channel's name holds a slash.
    """

    def __init__(self, room: RoomEndpoint, lab: Any | None = None) -> None:
        self._room = room
        self._lab = lab

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        # As it was sent: `/ws/lab%2Fx/` is a room of a wrong name, and is told so.
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        if self._lab is not None and path.startswith(LAB_SOCKETS) and path != LAB_SOCKETS:
            await self._lab(scope, receive, send)
        elif scope["path"].startswith(PREFIX):
            await self._room(scope, receive, send)
        else:
            await refuse_handshake(scope, receive, send, 404)
