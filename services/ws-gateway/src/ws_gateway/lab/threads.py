"""Let sockets share one thread for their sync code, as all sockets of a process do in stock Channels.

Each socket of the lab has a thread of its own, so a blocking handler stops nobody else; and five blocking counters
would run side by side. With ``?thread=<any name>`` those of one visitor with the same name wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from asgiref.sync import ThreadSensitiveContext

from ws_gateway.lab.limits import parameter_of, visitor_of

Key = tuple[str, str]


class SharedThread:
    """ASGI middleware around a sync consumer; one per path."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._threads: dict[Key, tuple[ThreadPoolExecutor, int]] = {}

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        name = parameter_of(scope, "thread")
        if not name:
            await self._application(scope, receive, send)
            return
        # The visitor is part of the key: nobody can make somebody else's counters wait.
        with self._thread((visitor_of(scope), name)) as executor:
            async with ThreadSensitiveContext(executor=executor):
                await self._application(scope, receive, send)

    @contextmanager
    def _thread(self, key: Key) -> Iterator[ThreadPoolExecutor]:
        executor, users = self._threads.get(key) or (ThreadPoolExecutor(1, "lab-shared"), 0)
        self._threads[key] = (executor, users + 1)
        try:
            yield executor
        finally:
            executor, users = self._threads.pop(key)
            if users > 1:
                self._threads[key] = (executor, users - 1)
            else:
                # Not waited for: a cancelled socket's handler may block until its next send finds the client gone.
                executor.shutdown(wait=False)
