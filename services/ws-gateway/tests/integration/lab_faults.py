"""The gateway with lessons of bad manners: one that raises, one that blocks, some that use the database.

``python -m clarion.server lab_faults:application``, with this folder on the path.
"""

from __future__ import annotations

import json
import threading
from typing import Any

from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import ProtocolTypeRouter

from ws_gateway.asgi import gateway, lab_pages  # sets Django up
from ws_gateway.endpoints.websocket import WebSocketEndpoint
from ws_gateway.health import HealthEndpoint
from ws_gateway.lab.sockets import LabSockets
from ws_gateway.rooms import RoomEndpoint
from ws_gateway.routing import HttpRoutes, WebSocketRoutes

SOCKETS_MAX = 12
released = threading.Event()


class Echo(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Answers with what it got."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(text_data)


class RaisesSync(WebsocketConsumer):  # type: ignore[misc]
    """Fails on a message, in its thread."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        raise ZeroDivisionError(text_data)


class RaisesAsync(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Fails on a message, on the event loop."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        raise ZeroDivisionError(text_data)


class RaisesEarly(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Fails before it has answered the handshake."""

    async def connect(self) -> None:
        raise ZeroDivisionError


class Blocks(WebsocketConsumer):  # type: ignore[misc]
    """On a message, says so and blocks its thread until some socket sends "release"."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "release":
            released.set()
        self.send("blocking")
        released.wait(60)
        self.send("released")


class QueriesSync(WebsocketConsumer):  # type: ignore[misc]
    """Answers with the database connection that its handler has, and the thread that it runs in."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.send(json.dumps(backend()))


class LeavesOpen(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Uses the database without ``database_sync_to_async``: nothing closes the connection after it. Then it raises."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(json.dumps(await sync_to_async(backend)()))
        if text_data == "raise":
            raise ZeroDivisionError


def backend() -> dict[str, Any]:
    """Which PostgreSQL connection, which thread."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return {"pid": cursor.fetchone()[0], "thread": threading.get_ident()}


def _patterns() -> list[Any]:
    from django.urls import path as django_path

    path: Any = django_path
    lessons: dict[str, Any] = {
        "echo": Echo,
        "raises/sync": RaisesSync,
        "raises/async": RaisesAsync,
        "raises/early": RaisesEarly,
        "blocks": Blocks,
        "queries": QueriesSync,
        "leaves-open": LeavesOpen,
    }
    return [path(f"ws/lab/{name}/", lesson.as_asgi()) for name, lesson in lessons.items()]


application = ProtocolTypeRouter(
    {
        "http": HttpRoutes({}, HealthEndpoint(gateway), lab_pages),
        "websocket": WebSocketRoutes(
            WebSocketEndpoint(gateway),
            RoomEndpoint(gateway),
            LabSockets(_patterns(), gateway.origins, sockets_max=SOCKETS_MAX),
        ),
        "lifespan": gateway.lifespan,
    }
)
