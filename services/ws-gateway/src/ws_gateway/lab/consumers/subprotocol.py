"""Subprotocols, refusals, and all that a handshake tells a consumer."""

from __future__ import annotations

import json

from channels.generic.websocket import AsyncWebsocketConsumer

from ws_gateway.lab.blanking import scope_shown
from ws_gateway.lab.frames import BadMessage, message_of
from ws_gateway.lab.limits import parameter_of

KNOWN = ("lab.v2", "lab.v1")
"""Newest first."""


class SubprotocolLesson(AsyncWebsocketConsumer):
    """Choose one of the subprotocols offered by ``new WebSocket(url, ["lab.v1", "lab.v2"])``, or refuse.

    ``close()`` before ``accept()`` is HTTP 403 at the handshake: a browser tells its page 1006 and no more, whatever
    the code. To give a code that the page can read, accept first and close then.
    """

    chosen: str | None = None

    async def connect(self) -> None:
        """Accept with a subprotocol and show the scope; or refuse, on ``?refuse=1`` and ``?refuse=handshake``."""
        offered = list(self.scope["subprotocols"])
        self.chosen = next((name for name in KNOWN if name in offered), None)
        refuse = parameter_of(self.scope, "refuse")
        if refuse == "handshake":
            await self.close(code=4123)  # the 403
            return
        if refuse == "1" or (offered and not self.chosen):
            # Chrome and Firefox drop a socket whose offers were all passed over: name one, so that it hears the code.
            await self.accept(subprotocol=self.chosen or next(iter(offered), None))
            await self.close(code=4123, reason="refused, as the lesson has it")
            return
        await self.accept(subprotocol=self.chosen, headers=[(b"x-lab-lesson", b"subprotocol")])  # type: ignore[list-item]  # the stubs say str; ASGI bytes
        await self.send(json.dumps({"subprotocol": self.chosen, "scope": scope_shown(self.scope)}))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Answer, and say by which subprotocol."""
        try:
            answer = {"msg": message_of(text_data), "subprotocol": self.chosen}
        except BadMessage as exc:
            answer = exc.frame
        await self.send(json.dumps(answer))
