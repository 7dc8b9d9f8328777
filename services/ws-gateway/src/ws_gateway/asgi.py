"""The gateway's ASGI application; ``python -m ws_gateway`` serves it."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ws_gateway.settings.base")
django.setup()

from channels.routing import ProtocolTypeRouter  # noqa: E402 - after django.setup()
from django.core.asgi import get_asgi_application  # noqa: E402

from ws_gateway.endpoints.emulation import EmulationEndpoint  # noqa: E402
from ws_gateway.endpoints.streams import HttpStreamEndpoint, SseEndpoint  # noqa: E402
from ws_gateway.endpoints.websocket import WebSocketEndpoint  # noqa: E402
from ws_gateway.env import env  # noqa: E402
from ws_gateway.gateway import Gateway  # noqa: E402
from ws_gateway.health import HealthEndpoint  # noqa: E402
from ws_gateway.lab.pages import LabPages  # noqa: E402
from ws_gateway.lab.routing import websocket_urlpatterns  # noqa: E402
from ws_gateway.lab.sockets import LabSockets  # noqa: E402
from ws_gateway.rooms import RoomEndpoint  # noqa: E402
from ws_gateway.routing import HttpRoutes, WebSocketRoutes  # noqa: E402

gateway = Gateway(env)
endpoints = {
    "/connection/http_stream": HttpStreamEndpoint(gateway),
    "/connection/sse": SseEndpoint(gateway),
    "/emulation": EmulationEndpoint(gateway),
}
lab_pages = LabPages(get_asgi_application()) if env.lab_enabled else None
lab_sockets = LabSockets(websocket_urlpatterns, gateway.origins) if env.lab_enabled else None
application = ProtocolTypeRouter(
    {
        "http": HttpRoutes(endpoints, HealthEndpoint(gateway), lab_pages),
        "websocket": WebSocketRoutes(WebSocketEndpoint(gateway), RoomEndpoint(gateway), lab_sockets),
        "lifespan": gateway.lifespan,
    }
)
