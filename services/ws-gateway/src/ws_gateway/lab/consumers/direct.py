"""One consumer sends to another by its name, and what can go wrong then."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from channels.exceptions import ChannelFull, MessageTooLarge
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import InMemoryChannelLayer
from django.conf import settings

from ws_gateway.lab.frames import LAYER_AWAY, LAYER_ERRORS, BadMessage, error, json_of, msg_of

GROUP = "lab.direct"
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
        """Send, or show what ``show`` names."""
        try:
            content = json_of(text_data)
            msg = msg_of(content)
            show = content.get("show")
            if show is None:
                answer = await self.deliver(msg, content.get("to", self.channel_name))
            elif show in ("too_large", "full", "dead_member"):
                answer = {"msg": msg, "show": show, **await getattr(self, f"show_{show}")()}
            else:
                answer = error("data_invalid", '"show" is too_large, full or dead_member')
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

    async def show_too_large(self) -> dict[str, Any]:
        """A message of 2 MiB: our layer refuses one over 1 MiB, stock channels_redis sends it to everyone's memory."""
        try:
            await self.deliver("x" * 2**21, self.channel_name)
        except MessageTooLarge:
            return {"caught": "MessageTooLarge", "note": "the layer takes 1 MiB; nothing was sent"}
        return {"caught": None, "note": "this layer has no limit"}

    async def show_full(self) -> dict[str, Any]:
        """ChannelFull comes from a layer that keeps the queue itself, as the in-memory one does.

        Over pub/sub the queue is in the receiver's process, where the sender cannot see it: the oldest message is
        dropped there, and logged. channels_redis's core layer raises ChannelFull, and drops in ``group_send``.
        """
        layer = InMemoryChannelLayer(capacity=3)
        for sent in range(100):
            try:
                await layer.send("nobody-reads", {"type": "direct.message"})
            except ChannelFull:
                return {"caught": "ChannelFull", "sent": sent, "note": "in memory; a pub/sub sender is never told"}
        return {"caught": None, "note": "no limit was met"}

    async def show_dead_member(self) -> dict[str, Any]:
        """A member whose consumer ended by an exception never calls ``group_discard``: is it still in its group?

        In the stock core and in-memory layers until ``group_expiry`` (a day), and its queue fills; in the stock pub/sub
        layer as long as the process lives; in ClarionChannelLayer until its ``receive`` is cancelled.
        """
        layers = (self.channel_layer, InMemoryChannelLayer())
        left = {type(layer).__name__: await is_left_behind(layer) for layer in layers}
        return {"still_member": left, "note": "call group_discard in disconnect, and do not count on it"}


async def is_left_behind(layer: Any) -> bool:
    """Let a member of a group die as an exception in a consumer kills it, and look for it in the group."""
    name = await layer.new_channel()
    receiving = asyncio.ensure_future(layer.receive(name))
    await asyncio.sleep(0)  # it has begun to wait
    try:
        await layer.group_add(GROUP, name)
    finally:
        receiving.cancel()  # all that Channels does when a consumer has raised
        await asyncio.wait([receiving])
    is_member = any(name in members for members in layer.groups.values())
    await layer.group_discard(GROUP, name)
    return is_member
