"""Endpoints that ask PostgreSQL at the handshake, as a gateway's authentication does."""

from __future__ import annotations

import os
from typing import Any

import dj_database_url
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="database",
    DATABASES={"default": dj_database_url.parse(os.environ["TEST_DATABASE_URL"], conn_max_age=600)},
)
django.setup()

from channels.db import database_sync_to_async  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from django.db import connection as database  # noqa: E402
from django.http import HttpResponse  # noqa: E402

from clarion.server import text_frame  # noqa: E402


@database_sync_to_async
def ask() -> str:
    """Return the number of the database process that answers."""
    with database.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        return str(cursor.fetchone()[0])


class Session:
    def received(self, message: str | bytes) -> None: ...

    def closed(self, code: int) -> None: ...


class Consumer(AsyncWebsocketConsumer):
    channel_layer_alias = "none"

    async def connect(self) -> None:
        answer = await ask()
        await self.accept()
        await self.send(text_data=answer)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Serve /ws/detach and /ws/consumer, and any HTTP request for the probe of readiness."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": HttpResponse().status_code, "headers": []})
        await send({"type": "http.response.body", "body": b""})
    elif scope["path"] == "/ws/consumer":
        await Consumer.as_asgi()(scope, receive, send)
    else:
        await receive()
        answer = await ask()
        connection = scope["extensions"]["clarion.connection"]
        await send({"type": "websocket.accept", "clarion.session": Session()})
        connection.write(text_frame(answer.encode()))
