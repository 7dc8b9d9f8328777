"""A client of the client protocol, JSON over a WebSocket: commands by hand, replies and pushes as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.waiting import DEADLINE_S


class ProtocolClient:
    """One connection. Pings are answered; pushes are kept until somebody asks for them.

    Attributes:
        connected: the connect command's result.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._id = 0
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pushes: list[dict[str, Any]] = []
        self._came = asyncio.Event()
        self._reader = asyncio.create_task(self._read())
        self.connected: dict[str, Any] = {}

    @property
    def id(self) -> str:
        """The connection's id, which others see."""
        client: str = self.connected["client"]
        return client

    async def command(self, **method: Any) -> dict[str, Any]:
        """Send one command and return the reply, a result or an error, without its id."""
        self._id += 1
        reply: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._replies[self._id] = reply
        await self._socket.send(json.dumps({"id": self._id, **method}))
        async with asyncio.timeout(DEADLINE_S):
            return await reply

    async def answer(self, **method: Any) -> dict[str, Any] | int:
        """Send one command and return the reply as :meth:`command`, or the code that the connection was closed with."""
        reply = asyncio.create_task(self.command(**method))
        closed = asyncio.create_task(self._socket.wait_closed())
        await asyncio.wait([reply, closed], return_when=asyncio.FIRST_COMPLETED)
        if reply.done():
            closed.cancel()
            return reply.result()
        reply.cancel()
        assert self._socket.close_code is not None
        return self._socket.close_code

    async def subscribe(self, channel: str, **fields: Any) -> dict[str, Any]:
        """Subscribe and return the result; fails on an error."""
        result: dict[str, Any] = (await self.command(subscribe={"channel": channel, **fields}))["subscribe"]
        return result

    async def push(self, kind: str, channel: str = "") -> dict[str, Any]:
        """Take the next push of a kind (``pub``, ``subscribe``, ``unsubscribe``, ``refresh`` …) and return it."""
        return await self.push_where(lambda push: kind in push and push.get("channel", "") == channel, kind)

    async def push_where(self, condition: Callable[[dict[str, Any]], bool], kind: str) -> dict[str, Any]:
        """Take the next push of a kind for which a condition holds."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                for push in self._pushes:
                    if condition(push):
                        self._pushes.remove(push)
                        found: dict[str, Any] = push[kind]
                        return found
                self._came.clear()
                await self._came.wait()

    async def closed(self) -> tuple[int | None, str]:
        """Wait until the server has closed the connection, and return code and reason."""
        async with asyncio.timeout(DEADLINE_S):
            await self._socket.wait_closed()
        return self._socket.close_code, self._socket.close_reason or ""

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it."""
        return self._socket.close_code is None

    async def close(self) -> None:
        """Close it."""
        await self._socket.close()
        await self._reader

    async def _read(self) -> None:
        try:
            async for frame in self._socket:
                for line in str(frame).split("\n"):
                    await self._take(json.loads(line))
        except ConnectionClosed:
            pass

    async def _take(self, reply: dict[str, Any]) -> None:
        if not reply:
            await self._socket.send("{}")
        elif "push" in reply:
            self._pushes.append(reply["push"])
            self._came.set()
        elif waiting := self._replies.pop(reply.pop("id"), None):
            waiting.set_result(reply)


@asynccontextmanager
async def protocol_client(base_url: str, token: str, **fields: Any) -> AsyncIterator[ProtocolClient]:
    """A connected client, for the length of an ``async with``.

    Args:
        base_url: of nginx or of one gateway, ``http://…``.
        fields: more fields of the connect command.
    """
    url = f"ws{base_url.removeprefix('http')}/connection/websocket"
    async with connect(url, open_timeout=DEADLINE_S, close_timeout=5, max_size=None, proxy=None) as socket:
        client = ProtocolClient(socket)
        reply = await client.command(connect={"token": token, **fields})
        client.connected = reply["connect"]
        try:
            yield client
        finally:
            await client.close()
