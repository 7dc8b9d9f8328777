"""One consumer sends to another, by its name."""

from __future__ import annotations

import json
import re
from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from ws_gateway.lab.faults import FAULTS
from ws_gateway.lab.frames import LAYER_AWAY, LAYER_ERRORS, BadMessage, error, json_of, msg_of

RANDOM = "[0-9a-f]{32}"


class DirectLesson(AsyncWebsocketConsumer):
    """``{"msg", "to"}`` goes to the consumer of that name, without ``to`` to us; ``{"msg", "show"}`` shows a fault.

    At most once: ``send`` does not tell whether there is such a consumer.
    """

    async def connect(self) -> None:
        """Say our name: who knows it can send to us, so show it to no one else."""
        await self.accept()
        node = getattr(settings, "CLARION_NODE", "")
        await self.send(json.dumps({"channel_name": self.channel_name, "node": node}))

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Send, or show a fault."""
        try:
            content = json_of(text_data)
            msg, show = msg_of(content), content.get("show")
            if show is None:
                answer = await self.deliver(msg, content.get("to", self.channel_name))
            elif isinstance(show, str) and show in FAULTS:
                answer = {"msg": msg, "show": show, **await FAULTS[show](self.channel_layer, self.channel_name)}
            else:
                answer = error("data_invalid", f'"show" is one of {", ".join(FAULTS)}')
        except BadMessage as exc:
            answer = exc.frame
        except LAYER_ERRORS:
            answer = LAYER_AWAY
        await self.send(json.dumps(answer))

    async def deliver(self, msg: str, to: Any) -> dict[str, Any]:
        """Send to one consumer, whose name differs from ours in what is random: a layer sends to any Redis channel."""
        if not isinstance(to, str) or not re.fullmatch(re.sub(RANDOM, RANDOM, re.escape(self.channel_name)), to):
            return error("name_invalid", '"to" is the channel_name of a consumer')
        await self.channel_layer.send(to, {"type": "direct.message", "msg": msg, "from": self.channel_name})
        return {"msg": msg, "to": to}

    async def direct_message(self, event: dict[str, Any]) -> None:
        """Another consumer, or this one, has sent to our name."""
        await self.send(json.dumps({"msg": event["msg"], "from": event["from"]}))

    async def lab_question(self, event: dict[str, Any]) -> None:
        """Leave a question of the lesson "Worker" unanswered: a type without a handler would close us with 1011."""
