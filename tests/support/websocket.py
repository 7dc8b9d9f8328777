"""A WebSocket client of plain rooms and of the lab, as strict as a browser's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from tests.support.waiting import DEADLINE_S


def room_url(base_url: str, channel: str, **query: str) -> str:
    """Return the URL of a plain room: ``http://…`` becomes ``ws://…/ws/<channel>/?…``."""
    text = f"?{urlencode(query)}" if query else ""
    return f"ws{base_url.removeprefix('http')}/ws/{quote(channel, safe='')}/{text}"


async def room_join(
    base_url: str,
    channel: str,
    token: str = "",
    *,
    origin: str | None = None,
    headers: dict[str, str] | None = None,
    **query: str,
) -> ClientConnection:
    """Connect to a plain room with the token as subprotocol; close the connection after use.

    Args:
        base_url: of nginx (``product.url``) or of one gateway (``product.dev["gateways"][0]``).
    """
    subprotocols = ["clarion", token] if token else []
    return await socket_open(room_url(base_url, channel, **query), subprotocols, origin=origin, headers=headers)


def lesson_url(base_url: str, path: str) -> str:
    """Return the URL of one of the lab's paths: ``http://…`` becomes ``ws://…<path>``."""
    return f"ws{base_url.removeprefix('http')}{path}"


async def socket_open(
    url: str,
    subprotocols: Sequence[str] = (),
    *,
    origin: str | None = None,
    headers: dict[str, str] | None = None,
) -> ClientConnection:
    """Connect to any path; close the connection after use.

    Raises:
        InvalidStatus: the handshake was refused.
    """
    return await connect(
        url,
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        origin=Origin(origin) if origin else None,
        additional_headers=headers,
        open_timeout=DEADLINE_S,
        close_timeout=5,
        max_size=None,
        proxy=None,
    )


async def receive_json(connection: ClientConnection, deadline_s: float = DEADLINE_S) -> Any:
    """Return the next message, decoded.

    Raises:
        TimeoutError: none came within ``deadline_s`` seconds.
    """
    async with asyncio.timeout(deadline_s):
        return json.loads(await connection.recv())


async def wait_closed(connection: ClientConnection, deadline_s: float = DEADLINE_S) -> tuple[int | None, str]:
    """Read until the connection is closed and return the close code and reason that the server sent."""
    async with asyncio.timeout(deadline_s):
        try:
            while True:
                await connection.recv()
        except ConnectionClosed:
            return connection.close_code, connection.close_reason or ""
