"""Who is connected: ``AuthMiddlewareStack`` reads the session cookie of the handshake and sets ``scope["user"]``."""

from __future__ import annotations

import json
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from ws_gateway.lab.frames import LAYER_AWAY, LAYER_ERRORS, BadMessage, error, message_of

GROUP = "lab.whoami"


class WhoAmILesson(AsyncWebsocketConsumer):
    """Anyone may read what is written here; to write one must be signed in.

    The user is who had signed in when the socket was opened: sign in or out, then reconnect.
    """

    groups = [GROUP]  # the generic consumer joins these on connect, and leaves them on disconnect

    async def connect(self) -> None:
        """Say who is connected; ``user`` is null for a visitor."""
        await self.accept()
        node = getattr(settings, "CLARION_NODE", "")
        await self.send(json.dumps({"user": self.username(), "node": node}))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send what a signed-in user wrote to everybody; tell a visitor where to sign in."""
        if self.username() is None:
            refusal = error("unauthorized", f"to write here, sign in at {settings.LOGIN_URL}, then reconnect")
            await self.send(json.dumps({**refusal, "sign_in": settings.LOGIN_URL}))
            return
        try:
            event = {"type": "chat.message", "user": self.username(), "msg": message_of(text_data)}
            await self.channel_layer.group_send(GROUP, event)
        except BadMessage as exc:
            await self.send(json.dumps(exc.frame))
        except LAYER_ERRORS:
            await self.send(json.dumps(LAYER_AWAY))

    def username(self) -> str | None:
        """The signed-in user's name; ``scope["user"]`` is an AnonymousUser, not None, if there is none."""
        user: Any = self.scope["user"]
        return user.get_username() if user.is_authenticated else None

    async def chat_message(self, event: dict[str, Any]) -> None:
        """Show what a signed-in user wrote."""
        await self.send(json.dumps({"user": event["user"], "msg": event["msg"]}))
