"""A counter that does not block: a task beside the consumer, which stays free for the next event."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer

from ws_gateway.lab.frames import BadMessage, message_of
from ws_gateway.lab.limits import interval_of


class AsyncCounter(AsyncConsumer):
    """On a message, count to 30, once a second; a second message starts again from 1.

    Channels gives an async consumer, too, one event at a time: ``await asyncio.sleep(1)`` in ``websocket_receive``
    would leave every other socket alone but keep this one's next message waiting. Hence the task.
    """

    counts = 30
    task: asyncio.Task[None] | None = None

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        """Accept."""
        await self.send({"type": "websocket.accept"})

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        """Start the task, and return at once."""
        try:
            message_of(message.get("text"))
        except BadMessage as exc:
            await self.answer(exc.frame)
            return
        self.stop()
        self.task = asyncio.create_task(self.count())

    async def count(self) -> None:
        """Send a number, let others run, 30 times."""
        with contextlib.suppress(OSError):  # the client has left, and the disconnect is on its way
            for number in range(1, self.counts + 1):
                await self.answer({"count": number})
                await asyncio.sleep(interval_of(self.scope))

    async def answer(self, content: dict[str, Any]) -> None:
        """Send JSON."""
        await self.send({"type": "websocket.send", "text": json.dumps(content)})

    def stop(self) -> None:
        """Cancel the task, if there is one: it ends at its next ``await``."""
        if self.task is not None:
            self.task.cancel()

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        """Stop at once: nobody would cancel the task otherwise."""
        self.stop()
        raise StopConsumer
