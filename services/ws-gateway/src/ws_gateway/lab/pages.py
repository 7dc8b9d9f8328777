"""The lab's pages as an ASGI application: Django's own, in a thread of its own."""

from __future__ import annotations

from typing import Any

from ws_gateway.lab.own_thread import own_thread


class LabPages:
    """``/lab/…`` by Django's handler: a slow query holds up neither another page nor a client's sign-in."""

    def __init__(self, django_application: Any) -> None:
        self._django_application = django_application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        async with own_thread():
            await self._django_application(scope, receive, send)
