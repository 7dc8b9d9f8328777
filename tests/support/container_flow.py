"""Publications and clients that go on, at a deployment in containers, while a test takes its parts away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final
from uuid import uuid4

from tests.support.containers import Deployment
from tests.support.recovering_client import RecoveringClient
from tests.support.waiting import wait_until, wait_until_async

CLIENTS: Final = 12


class Flow:
    """Publishes ``{"n": 1}`` and on to a channel, and notes what was accepted."""

    def __init__(self, running: Deployment, channel: str) -> None:
        self.accepted: list[int] = []
        self._running = running
        self._channel = channel
        self._is_ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Stop."""
        self._is_ended.set()
        self._thread.join(60)

    def wait_more(self, count: int = 10) -> None:
        """Wait until more have been accepted."""
        wanted = len(self.accepted) + count
        wait_until(lambda: len(self.accepted) >= wanted, what=f"{count} more publications are accepted")

    def _run(self) -> None:
        number = 0
        while not self._is_ended.wait(0.03):
            number += 1
            if self._running.offer(self._channel, {"n": number}):
                self.accepted.append(number)


@contextmanager
def flow(running: Deployment, channel: str) -> Iterator[Flow]:
    """Publish for the length of a ``with`` block."""
    made = Flow(running, channel)
    made.start()
    try:
        yield made
    finally:
        made.end()


@asynccontextmanager
async def clients(running: Deployment, channels: list[str], user: str = "") -> AsyncIterator[list[RecoveringClient]]:
    """Clients that come back, subscribed to channels, over both gateways."""
    token = await asyncio.to_thread(running.token, user or uuid4().hex)
    made = [RecoveringClient(running.url, token, channels) for _ in range(CLIENTS)]
    for client in made:
        client.start()
    try:
        await wait_until_async(
            lambda: all(log.epoch for client in made for log in client.logs.values()), what="all are subscribed"
        )
        yield made
    finally:
        for client in made:
            await client.stop()
