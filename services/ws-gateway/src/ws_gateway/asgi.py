"""The gateway's ASGI application: ``python -m clarion.server ws_gateway.asgi:application``."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ws_gateway.settings.base")
django.setup()

from channels.routing import ProtocolTypeRouter  # noqa: E402 - after django.setup()

from ws_gateway.env import env  # noqa: E402
from ws_gateway.gateway import Gateway  # noqa: E402
from ws_gateway.health import HealthEndpoint  # noqa: E402
from ws_gateway.rooms import RoomEndpoint  # noqa: E402
from ws_gateway.routing import WebSocketRoutes  # noqa: E402

gateway = Gateway(env)
application = ProtocolTypeRouter(
    {
        "http": HealthEndpoint(gateway),
        "websocket": WebSocketRoutes(RoomEndpoint(gateway)),
        "lifespan": gateway.lifespan,
    }
)
