"""A client of a plain room that remembers its place and comes back, as a page would."""

from __future__ import annotations

import json
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from .conftest import GatewayProcess


class RoomReader:
    """Reads one channel over as many sockets as it takes.

    Attributes:
        taken: what came, in order: envelopes' data.
        place: the query that says how far it has come.
        recovers: what each ``recover`` frame said.
    """

    def __init__(self, channel: str, place: str = "since=0") -> None:
        self.channel = channel
        self.taken: list[Any] = []
        self.place = place
        self.recovers: list[bool] = []

    async def open(self, gateway: GatewayProcess, **options: Any) -> ClientConnection:
        """Join at the place that was reached, and take the ``recover`` frame."""
        socket = await gateway.connect(self.channel, query=f"?envelope=1&{self.place}", **options)
        recover = json.loads(await socket.recv())["recover"]
        self.recovers.append(recover["recovered"])
        if not recover["recovered"]:
            self._at(recover)
        return socket

    async def take(self, socket: ClientConnection, count: int) -> None:
        """Take the next messages."""
        for _ in range(count):
            message = json.loads(await socket.recv())
            self.taken.append(message["data"])
            self._at(message)

    async def take_all(self, socket: ClientConnection) -> int | None:
        """Take messages until the socket closes. Returns the close code; None: it was lost."""
        try:
            while True:
                await self.take(socket, 1)
        except ConnectionClosed as exc:
            return exc.rcvd.code if exc.rcvd else None

    def _at(self, found: dict[str, Any]) -> None:
        if "offset" in found:
            self.place = f"since={found['offset']}&epoch={found['epoch']}"
