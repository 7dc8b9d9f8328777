"""JSON both ways: ``JSON.stringify`` to ``json.loads``, and ``json.dumps`` to ``JSON.parse``."""

from __future__ import annotations

import json
from typing import Any

from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer

from ws_gateway.lab.frames import BadMessage, error, msg_of, no_constant, text_of


class JsonLesson(AsyncConsumer):
    """A frame is text; JSON is a convention of both ends, and either may break it."""

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        """Accept."""
        await self.send({"type": "websocket.accept"})

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        """Answer each frame, a malformed one as well: an exception here would close the socket with 1011."""
        try:
            content = json.loads(text_of(message.get("text")), parse_constant=no_constant)
            msg = msg_of(content)
            answer: dict[str, Any] = {"msg": msg, "characters": len(msg)}
        except BadMessage as exc:  # JSON, but not what this example takes
            answer = exc.frame
        except (ValueError, RecursionError) as exc:  # json.loads says where: "line 1 column 9 (char 8)"
            answer = error("json_malformed", f"this is not JSON: {exc}")
        await self.send({"type": "websocket.send", "text": json.dumps(answer)})

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        """Stop."""
        raise StopConsumer
