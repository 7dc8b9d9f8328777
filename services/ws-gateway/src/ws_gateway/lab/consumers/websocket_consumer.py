"""The generic consumer: it accepts and stops by itself, and ``receive`` gets text or bytes."""

from __future__ import annotations

import json
from typing import Any

from channels.generic.websocket import WebsocketConsumer

from ws_gateway.lab.frames import BadMessage, bytes_of, message_of


class WebsocketLesson(WebsocketConsumer):
    """Three methods instead of events: ``connect``, ``receive``, ``disconnect``."""

    def connect(self) -> None:
        """Accept; without this method the generic consumer does the same."""
        self.accept()

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Answer text with text and a binary frame with the same bytes."""
        try:
            if text_data is None:
                self.send(bytes_data=bytes_of(bytes_data))
                return
            answer: dict[str, Any] = {"msg": message_of(text_data)}
        except BadMessage as exc:
            answer = exc.frame
        self.send(text_data=json.dumps(answer))

    def disconnect(self, code: int) -> None:
        """The socket is gone; the generic consumer raises StopConsumer after this."""
