"""The generic consumer of JSON: ``receive_json`` gets what was parsed, ``send_json`` takes what is to be encoded."""

from __future__ import annotations

from typing import Any

from channels.generic.websocket import JsonWebsocketConsumer

from ws_gateway.lab.frames import BadMessage, json_of, msg_of


class JsonWebsocketLesson(JsonWebsocketConsumer):
    """Stock behaviour on a frame that is no JSON is an exception, which closes the socket; here it is an answer."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Catch what ``decode_json`` and ``receive_json`` refuse; a binary frame is refused there, too."""
        try:
            self.receive_json(self.decode_json(text_data), **kwargs)
        except BadMessage as exc:
            self.send_json(exc.frame)

    @classmethod
    def decode_json(cls, text_data: str | None) -> Any:
        """Parse strictly: without NaN, within a size."""
        return json_of(text_data)

    def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Answer."""
        self.send_json({"msg": msg_of(content)})
