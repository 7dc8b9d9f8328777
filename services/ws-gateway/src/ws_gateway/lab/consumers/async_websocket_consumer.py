"""The generic consumer, async."""

from __future__ import annotations

import json
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer

from ws_gateway.lab.frames import BadMessage, bytes_of, message_of


class AsyncWebsocketLesson(AsyncWebsocketConsumer):
    """``connect``, ``receive`` and ``disconnect`` as coroutines; so are ``accept``, ``send`` and ``close``."""

    async def connect(self) -> None:
        """Accept; without this method the generic consumer does the same."""
        await self.accept()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Answer text with text and a binary frame with the same bytes."""
        try:
            if text_data is None:
                await self.send(bytes_data=bytes_of(bytes_data))
                return
            answer: dict[str, Any] = {"msg": message_of(text_data)}
        except BadMessage as exc:
            answer = exc.frame
        await self.send(text_data=json.dumps(answer))

    async def disconnect(self, code: int) -> None:
        """The socket is gone; the generic consumer raises StopConsumer after this."""
