"""Which path is which lesson's, as every Channels project writes it."""

from __future__ import annotations

from typing import Any

from django.urls import path as django_path

from ws_gateway.lab.consumers.async_consumer import AsyncLesson
from ws_gateway.lab.consumers.async_json_websocket_consumer import AsyncJsonWebsocketLesson
from ws_gateway.lab.consumers.async_websocket_consumer import AsyncWebsocketLesson
from ws_gateway.lab.consumers.counter_async import AsyncCounter
from ws_gateway.lab.consumers.counter_sync import SyncCounter
from ws_gateway.lab.consumers.direct import DirectLesson
from ws_gateway.lab.consumers.group_async import GroupLesson
from ws_gateway.lab.consumers.group_sync import SyncGroupLesson
from ws_gateway.lab.consumers.json_both_ways import JsonLesson
from ws_gateway.lab.consumers.json_websocket_consumer import JsonWebsocketLesson
from ws_gateway.lab.consumers.room import RoomLesson
from ws_gateway.lab.consumers.subprotocol import SubprotocolLesson
from ws_gateway.lab.consumers.sync_consumer import SyncLesson
from ws_gateway.lab.consumers.websocket_consumer import WebsocketLesson
from ws_gateway.lab.consumers.whoami import WhoAmILesson
from ws_gateway.lab.consumers.worker import WorkerLesson
from ws_gateway.lab.threads import SharedThread

path: Any = django_path  # its types know views, not ASGI applications

websocket_urlpatterns = [
    path("ws/lab/sc/", SyncLesson.as_asgi()),
    path("ws/lab/ac/", AsyncLesson.as_asgi()),
    path("ws/lab/counter/sync/", SharedThread(SyncCounter.as_asgi())),
    path("ws/lab/counter/async/", AsyncCounter.as_asgi()),
    path("ws/lab/json/", JsonLesson.as_asgi()),
    path("ws/lab/wsc/", WebsocketLesson.as_asgi()),
    path("ws/lab/awsc/", AsyncWebsocketLesson.as_asgi()),
    path("ws/lab/jwc/", JsonWebsocketLesson.as_asgi()),
    path("ws/lab/ajwc/", AsyncJsonWebsocketLesson.as_asgi()),
    path("ws/lab/subprotocol/", SubprotocolLesson.as_asgi()),
    path("ws/lab/group/", GroupLesson.as_asgi()),
    path("ws/lab/group/sync/", SyncGroupLesson.as_asgi()),
    path("ws/lab/room/<path:name>/", RoomLesson.as_asgi()),  # path, not slug: a bad name is told, not a 404
    path("ws/lab/whoami/", WhoAmILesson.as_asgi()),
    path("ws/lab/direct/", DirectLesson.as_asgi()),
    path("ws/lab/worker/", WorkerLesson.as_asgi()),
]
