"""Sockets of the lab by Channels' own test client, with all that stands before a consumer, on a real Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from pytest_django import Settings

from ws_gateway.lab.own_thread import own_thread
from ws_gateway.lab.routing import websocket_urlpatterns
from ws_gateway.lab.sockets import LabSockets

TIMEOUT_S = 30.0
QUIET_S = 0.3

Open = Callable[..., Awaitable["LabClient"]]


class LabClient(WebsocketCommunicator):  # type: ignore[misc]
    """One socket."""

    async def say(self, msg: str = "hello", **fields: Any) -> None:
        """Send ``{"msg": ...}``."""
        await self.send_json_to({"msg": msg, **fields})

    async def raw(self, text: str | None = None, data: bytes | None = None) -> None:
        """Send a frame as it is."""
        await self.send_input({"type": "websocket.receive", "text": text, "bytes": data})

    async def next(self) -> Any:
        """The next frame, parsed as a browser does."""
        return json.loads(await self.receive_from(TIMEOUT_S))

    async def error_code(self) -> str:
        """The next frame, which is an error."""
        frame = await self.next()
        assert frame["error"]["message"]
        return str(frame["error"]["code"])

    async def back(self, msg: str) -> None:
        """Send until it comes back from the layer: after an outage Redis has to be met again first."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                await self.say(msg)
                while not await self.receive_nothing(QUIET_S):
                    frame = await self.next()
                    if frame.get("msg") == msg and frame.keys() & {"node", "from", "author"}:
                        return

    async def silent(self) -> bool:
        """Whether nothing comes for a while."""
        return bool(await self.receive_nothing(QUIET_S))

    async def leave(self) -> None:
        """Close; the consumer stops by itself."""
        await self.disconnect(1000, TIMEOUT_S)
        assert self.future.done()
        assert not self.future.cancelled()
        assert self.future.exception() is None


def use_layer(settings: Settings, url: str, prefix: str, backend: str = "clarion.layers.ClarionChannelLayer") -> None:
    """Make a layer on this Redis the project's default."""
    config: dict[str, Any] = {"hosts": [url], "prefix": prefix}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
    settings.CLARION_LAB_TASKS = f"{prefix}.lab-tasks"
    settings.CLARION_NODE = "gateway-1"


@asynccontextmanager
async def lab_opened() -> AsyncIterator[Open]:
    """Open sockets; those that are left are closed at the end, and so is the layer."""
    application = LabSockets(websocket_urlpatterns, frozenset({"http://testserver"}))
    clients: list[LabClient] = []

    async def opened(path: str, *, cookie: str = "") -> LabClient:
        headers = [(b"cookie", cookie.encode())] if cookie else []
        client = LabClient(application, f"/ws/lab/{path}", headers)
        clients.append(client)
        assert await client.connect(TIMEOUT_S) == (True, None)
        return client

    try:
        yield opened
        for client in clients:
            if not client.future.done():
                await client.leave()
    finally:
        for client in clients:
            client.stop(exceptions=False)
        await get_channel_layer().flush()


async def in_database(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function that uses the database; its connection ends with it, for the next test has another database."""
    async with own_thread():
        return await sync_to_async(function)(*args)


async def sign_in(username: str) -> str:
    """Make a user who has signed in; returns the cookie."""
    return str(await in_database(_sign_in, username))


def _sign_in(username: str) -> str:
    user = User.objects.create_user(username)
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return f"clarion_session={session.session_key}"
