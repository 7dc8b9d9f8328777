"""A stock Channels project in one module: Django settings, a consumer as the Channels tutorial has it, and routing.

It runs on daphne and on ``clarion.server``. What it does not have favours it: no session middleware (a token says who
it is), no origin check, no access log.
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import parse_qs

import django
import jwt
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import re_path

# Set by the benchmark (tests/load/subjects.py): the whole environment of this site.
TOKEN_SECRET = os.environ["CLARION_TOKEN_SECRET"]
REDIS_PORT = int(os.environ["STOCK_REDIS_PORT"])
LAYER = os.environ.get("STOCK_LAYER", "channels_redis.pubsub.RedisPubSubChannelLayer")

settings.configure(
    SECRET_KEY="stock-site",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["channels"],
    DATABASES={},
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": LAYER,
            # redis-py 8's defaults break Channels (5 s timeout, 100 connections): channels_redis#422.
            "CONFIG": {
                "hosts": [{"host": "127.0.0.1", "port": REDIS_PORT, "socket_timeout": 15, "max_connections": 10_000}]
            },
        }
    },
)
django.setup()


class RoomConsumer(AsyncWebsocketConsumer):
    """Verifies the token, joins the room's group, sends what ``group_send`` brings, and echoes what a client sends."""

    group = ""

    async def connect(self) -> None:
        """Join, or refuse."""
        token = parse_qs(self.scope["query_string"].decode()).get("token", [""])[0]
        try:
            jwt.decode(token, TOKEN_SECRET, ["HS256"], options={"require": ["sub", "exp"]})
        except jwt.PyJWTError:
            await self.close()
            return
        self.group = self.scope["url_route"]["kwargs"]["room"]
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        """Leave."""
        if self.group:
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Echo."""
        await self.send(text_data=text_data, bytes_data=bytes_data)

    async def clarion_publication(self, event: dict[str, Any]) -> None:
        """Send what was published."""
        await self.send(text_data=json.dumps(event["data"]))


application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        # Django's stubs know no ASGI application as a view; Channels' tutorial writes it so.
        "websocket": URLRouter([re_path(r"^ws/(?P<room>[^/]+)/$", RoomConsumer.as_asgi())]),  # type: ignore[arg-type,list-item]
    }
)
