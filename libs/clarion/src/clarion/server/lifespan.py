"""ASGI's lifespan: an application that has work of its own starts before the first client and ends after the last.

Daphne has none. An application that does not know the scope (it raises or returns before it answers) goes without.

Source: the ASGI specification, "Lifespan Protocol" 2.0.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

log = logging.getLogger("clarion.server")

STARTUP_TIMEOUT_S: Final = 60.0
SHUTDOWN_TIMEOUT_S: Final = 10.0


class StartupFailed(Exception):
    """The application refused to start; its reason is the text."""


class Lifespan:
    """One application's lifespan, on the server's event loop."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._task: asyncio.Task[None] | None = None
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def startup(self) -> None:
        """Start the application and wait until it is ready for clients.

        Raises:
            StartupFailed: the application said so.
            TimeoutError: it said nothing for ``STARTUP_TIMEOUT_S``.
        """
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        self._task = asyncio.get_running_loop().create_task(
            self._application(scope, self._incoming.get, self._answers.put), name="lifespan"
        )
        async with asyncio.timeout(STARTUP_TIMEOUT_S):
            answer = await self._ask("lifespan.startup")
        if answer is None:
            self._task = None  # it knows no lifespan
        elif answer["type"] == "lifespan.startup.failed":
            raise StartupFailed(answer.get("message") or "the application refused to start")

    async def shutdown(self) -> None:
        """Tell the application to end, once its last client is gone; it has ``SHUTDOWN_TIMEOUT_S``."""
        if self._task is None or self._task.done():
            return
        try:
            async with asyncio.timeout(SHUTDOWN_TIMEOUT_S):
                await self._ask("lifespan.shutdown")
        except TimeoutError:
            log.error(
                "the application's lifespan took too long to end and was cancelled",
                extra={"event": "lifespan.cancelled"},
            )
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _ask(self, event: str) -> dict[str, Any] | None:
        """Send an event and return the application's answer, or None if it ended without one."""
        assert self._task is not None
        self._incoming.put_nowait({"type": event})
        answer = asyncio.ensure_future(self._answers.get())
        try:
            await asyncio.wait([answer, self._task], return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if not self._task.cancelled() and (failure := self._task.exception()) is not None:
                log.debug("the application's lifespan ended: %r", failure, extra={"event": "lifespan.failed"})
            return None
        finally:
            answer.cancel()
