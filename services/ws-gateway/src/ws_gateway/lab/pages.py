"""The lab's pages as an ASGI application: Django's own, in a thread of its own."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from ws_gateway.lab.own_thread import own_thread

AT_ONCE: Final = 8
"""Requests that are worked on; others wait, so that a flood of them is no flood of threads and database connections."""


class LabPages:
    """``/lab/…`` by Django's handler: a slow query holds up no client's sign-in."""

    def __init__(self, django_application: Any) -> None:
        self._django_application = django_application
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        async with self._turns, own_thread():
            await self._django_application(scope, receive, send)
