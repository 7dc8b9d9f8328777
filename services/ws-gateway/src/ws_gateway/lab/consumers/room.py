"""A chat room: its name comes from the URL, its last messages from the database."""

from __future__ import annotations

import json
import re
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import Error as DatabaseError

from ws_gateway.lab.frames import LAYER_ERRORS, BadMessage, error, message_of
from ws_gateway.lab.models import history_of, message_save

ROOM_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
BAD_NAME = error("name_invalid", "a room's name has 1 to 64 of A-Z a-z 0-9 _ -")
DATABASE_AWAY = error("database_unavailable", "the database did not answer: nothing was saved, nothing was sent")
ONLY_SAVED = error("layer_unavailable", "Redis did not answer: saved, and shown to whoever opens the room from now on")


class RoomLesson(AsyncWebsocketConsumer):
    """Show the last messages, then each new one: none twice, none lost in between."""

    group = ""
    shown: frozenset[int] = frozenset()

    async def connect(self) -> None:
        """Join the group, then read: what is sent meanwhile waits in our layer channel until this method returns."""
        self.room = self.scope["url_route"]["kwargs"]["name"]
        if not ROOM_NAME.fullmatch(self.room):  # a group's name allows less than a URL does
            await self.refuse()
            return
        self.group = f"lab.room.{self.room}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        history = await database_sync_to_async(history_of)(self.room)
        self.shown = frozenset(message["id"] for message in history)
        await self.accept()
        await self.send(json.dumps({"history": history, "node": getattr(settings, "CLARION_NODE", "")}))

    async def refuse(self) -> None:
        """Accept, say why not, close: a browser does not tell its page why a handshake was refused."""
        await self.accept()
        await self.send(json.dumps(BAD_NAME))
        await self.close(code=4400, reason="bad room name")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Save the message, then send it: a message that anybody saw is in the history, too."""
        if not self.group:  # refused, and this frame was on its way
            return
        user: Any = self.scope["user"]
        author = user.get_username() if user.is_authenticated else "guest"
        try:
            saved = await database_sync_to_async(message_save)(self.room, author, message_of(text_data))
            await self.channel_layer.group_send(self.group, {"type": "chat.message", "message": saved})
        except BadMessage as exc:
            await self.send(json.dumps(exc.frame))
        except DatabaseError:
            await self.send(json.dumps(DATABASE_AWAY))
        except LAYER_ERRORS:
            await self.send(json.dumps(ONLY_SAVED))

    async def chat_message(self, event: dict[str, Any]) -> None:
        """Show a new message; one that was sent while we read the history is in it already."""
        if event["message"]["id"] not in self.shown:
            await self.send(json.dumps(event["message"]))

    async def disconnect(self, code: int) -> None:
        """Leave, if we had joined."""
        if self.group:
            await self.channel_layer.group_discard(self.group, self.channel_name)
