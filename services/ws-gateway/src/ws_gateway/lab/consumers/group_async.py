"""A static group: what one member sends, every member receives, on whichever server it is."""

from __future__ import annotations

import json
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from ws_gateway.lab.frames import LAYER_AWAY, LAYER_ERRORS, BadMessage, message_of

GROUP = "programmers"


class GroupLesson(AsyncWebsocketConsumer):
    """Join on connect, leave on disconnect; in between ``chat_message`` is called for what anyone sends."""

    async def connect(self) -> None:
        """Join first: who is accepted must not miss a message."""
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send to the group, which is us as well: the answer comes back through ``chat_message``."""
        try:
            msg = message_of(text_data)
            node = getattr(settings, "CLARION_NODE", "")
            await self.channel_layer.group_send(GROUP, {"type": "chat.message", "msg": msg, "node": node})
        except BadMessage as exc:
            await self.send(json.dumps(exc.frame))
        except LAYER_ERRORS:
            await self.send(json.dumps(LAYER_AWAY))

    async def chat_message(self, event: dict[str, Any]) -> None:
        """A message of type ``chat.message`` has come from the group; ``node`` is the server that it was sent to."""
        await self.send(json.dumps({"msg": event["msg"], "node": event["node"]}))

    async def disconnect(self, code: int) -> None:
        """Leave; the stock layers would go on delivering to nobody."""
        await self.channel_layer.group_discard(GROUP, self.channel_name)
