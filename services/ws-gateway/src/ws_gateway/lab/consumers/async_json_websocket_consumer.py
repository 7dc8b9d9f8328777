"""The generic consumer of JSON, async."""

from __future__ import annotations

from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer

from ws_gateway.lab.frames import BadMessage, json_of, msg_of


class AsyncJsonWebsocketLesson(AsyncJsonWebsocketConsumer):
    """As ``JsonWebsocketLesson``; ``decode_json`` and ``encode_json`` are coroutines as well."""

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Catch what ``decode_json`` and ``receive_json`` refuse; a binary frame is refused there, too."""
        try:
            await self.receive_json(await self.decode_json(text_data), **kwargs)
        except BadMessage as exc:
            await self.send_json(exc.frame)

    @classmethod
    async def decode_json(cls, text_data: str | None) -> Any:
        """Parse strictly: without NaN, within a size."""
        return json_of(text_data)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Answer."""
        await self.send_json({"msg": msg_of(content)})
