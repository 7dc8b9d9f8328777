"""The lab's consumers in a stock Channels project: stock settings, stock middleware, no thread of its own for a socket.

It runs on daphne, as a reader's own project would after copying them.
"""

from __future__ import annotations

import os

import django
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application

# Set by the benchmark (tests/load/stage.py): the whole environment of this site.
REDIS_PORT = int(os.environ["STOCK_REDIS_PORT"])

settings.configure(
    SECRET_KEY="stock-site",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=[
        "channels",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "ws_gateway.lab",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},  # no lesson here reads it
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            # redis-py 8's defaults break Channels (5 s timeout, 100 connections): channels_redis#422.
            "CONFIG": {
                "hosts": [{"host": "127.0.0.1", "port": REDIS_PORT, "socket_timeout": 15, "max_connections": 10_000}]
            },
        }
    },
)
django.setup()

from ws_gateway.lab.routing import websocket_urlpatterns  # noqa: E402 - after django.setup()

application = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": AuthMiddlewareStack(URLRouter(websocket_urlpatterns)),
    }
)
