"""What waits for an ASGI application's ``receive()``."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any


class Inbox:
    """A queue that is made without a cost worth naming, and whose ``get`` may be cancelled (channels/utils.py:54).

    It does not refuse: the reader of the socket stops at :attr:`is_full`, and the last message, the disconnect,
    always has its place (trap 41).

    Args:
        size: messages that may wait.
        max_bytes: of them together; the last one may go beyond.
    """

    __slots__ = ("_bytes", "_loop", "_max_bytes", "_messages", "_size", "_waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop, size: int, max_bytes: int) -> None:
        self._loop = loop
        self._size = size
        self._max_bytes = max_bytes
        self._bytes = 0
        self._messages: deque[tuple[dict[str, Any], int]] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def is_full(self) -> bool:
        """No more should be read from the socket."""
        return len(self._messages) >= self._size or self._bytes >= self._max_bytes

    @property
    def has_room(self) -> bool:
        """Reading may go on: not at the first place that falls free, or each message would stop and start it."""
        return len(self._messages) <= self._size // 2 and self._bytes <= self._max_bytes // 2

    @property
    def is_idle(self) -> bool:
        """The application has taken everything, and waits for more: what it was asked is answered."""
        return not self._messages and bool(self._waiters)

    def put(self, message: dict[str, Any], size: int = 0) -> None:
        """Append a message of so many bytes and wake one who waits."""
        self._messages.append((message, size))
        self._bytes += size
        self._wake_one()

    async def get(self) -> dict[str, Any]:
        """Take the next message. A cancellation while it waits loses nothing."""
        while not self._messages:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if not waiter.cancelled() and self._messages:
                    self._wake_one()  # this one was woken for a message that another may wait for
                raise
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        message, size = self._messages.popleft()
        self._bytes -= size
        return message

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
