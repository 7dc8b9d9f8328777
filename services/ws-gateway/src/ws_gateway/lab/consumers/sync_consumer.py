"""The smallest consumer: one method for each event of the socket, in a thread."""

from __future__ import annotations

import json
from typing import Any

from channels.consumer import SyncConsumer
from channels.exceptions import StopConsumer

from ws_gateway.lab.frames import BadMessage, message_of


class SyncLesson(SyncConsumer):
    """Accept, answer, stop. An event of type ``websocket.connect`` calls ``websocket_connect``, and so on."""

    def websocket_connect(self, message: dict[str, Any]) -> None:
        """The handshake has come; until it is accepted nothing else can be sent."""
        self.send({"type": "websocket.accept"})

    def websocket_receive(self, message: dict[str, Any]) -> None:
        """A frame has come: ``message`` has ``text`` or ``bytes``."""
        try:
            answer = {"msg": message_of(message.get("text"))}
        except BadMessage as exc:
            answer = exc.frame
        self.send({"type": "websocket.send", "text": json.dumps(answer)})

    def websocket_disconnect(self, message: dict[str, Any]) -> None:
        """The socket is gone, with ``message["code"]``. Without StopConsumer this consumer would live on."""
        raise StopConsumer
