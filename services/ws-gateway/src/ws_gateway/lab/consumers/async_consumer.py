"""The smallest consumer, async: the same events, as coroutines on the event loop, with no thread."""

from __future__ import annotations

import json
from typing import Any

from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer

from ws_gateway.lab.frames import BadMessage, message_of


class AsyncLesson(AsyncConsumer):
    """As ``SyncLesson``, with ``async def`` and ``await``: a forgotten ``await`` sends nothing."""

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        """The handshake has come; until it is accepted nothing else can be sent."""
        await self.send({"type": "websocket.accept"})

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        """A frame has come: ``message`` has ``text`` or ``bytes``."""
        try:
            answer = {"msg": message_of(message.get("text"))}
        except BadMessage as exc:
            answer = exc.frame
        await self.send({"type": "websocket.send", "text": json.dumps(answer)})

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        """The socket is gone, with ``message["code"]``. Without StopConsumer this consumer would live on."""
        raise StopConsumer
