"""The same group from a sync consumer: the layer's methods are coroutines, so each call goes through async_to_sync."""

from __future__ import annotations

import json
from typing import Any

from asgiref.sync import async_to_sync
from channels.generic.websocket import WebsocketConsumer
from django.conf import settings

from ws_gateway.lab.frames import LAYER_AWAY, LAYER_ERRORS, BadMessage, message_of

GROUP = "programmers"


class SyncGroupLesson(WebsocketConsumer):
    """As ``GroupLesson``. A forgotten ``async_to_sync`` makes a coroutine that nobody runs, and nothing is sent."""

    def connect(self) -> None:
        """Join, then accept."""
        async_to_sync(self.channel_layer.group_add)(GROUP, self.channel_name)
        self.accept()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send to the group; this consumer's thread waits until Redis has taken it."""
        try:
            msg = message_of(text_data)
            node = getattr(settings, "CLARION_NODE", "")
            async_to_sync(self.channel_layer.group_send)(GROUP, {"type": "chat.message", "msg": msg, "node": node})
        except BadMessage as exc:
            self.send(json.dumps(exc.frame))
        except LAYER_ERRORS:
            self.send(json.dumps(LAYER_AWAY))

    def chat_message(self, event: dict[str, Any]) -> None:
        """A message has come from the group. No ``async_to_sync`` here: a handler is called in our thread."""
        self.send(json.dumps({"msg": event["msg"], "node": event["node"]}))

    def disconnect(self, code: int) -> None:
        """Leave."""
        async_to_sync(self.channel_layer.group_discard)(GROUP, self.channel_name)
