"""``/health/live`` and ``/health/ready``, outside Django's stack: no ALLOWED_HOSTS, thread or database in the way.

Live: the event loop answers. Ready: Redis is there and every subscription stands, so that a client that joins
receives. Liveness does not test Redis: a restart would only drop the sockets.
"""

from __future__ import annotations

import json
from typing import Any

from ws_gateway.credentials import header_of
from ws_gateway.gateway import Gateway


class HealthEndpoint:
    """The ASGI application of everything that is HTTP here: health, and 404 as a problem document."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: dict[str, Any], _receive: Any, send: Any) -> None:
        if scope["path"] == "/health/live":
            await _answer(send, 200, {"status": "ok", "node": self._gateway.node})
        elif scope["path"] == "/health/ready":
            is_ready = self._gateway.hub.connected
            body = {
                "status": "ok" if is_ready else "unavailable",
                "node": self._gateway.node,
                "checks": {"redis": "ok" if is_ready else "unavailable"},
            }
            await _answer(send, 200 if is_ready else 503, body)
        else:
            problem = {
                "type": "urn:clarion:problem:not_found",
                "title": "Not Found",
                "status": 404,
                "detail": "There is nothing here.",
                "code": "not_found",
                "request_id": header_of(scope, b"x-request-id") or "",
            }
            await _answer(send, 404, problem, b"application/problem+json")


async def _answer(send: Any, status: int, body: dict[str, Any], content_type: bytes = b"application/json") -> None:
    raw = json.dumps(body).encode()
    headers = [(b"content-type", content_type), (b"content-length", str(len(raw)).encode())]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": raw})
