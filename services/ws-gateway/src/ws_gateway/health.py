"""``/health/live`` and ``/health/ready``, outside Django's stack: no ALLOWED_HOSTS, thread or database in the way.

Live: the event loop answers. Ready: Redis is there and every subscription stands, so that a client that joins
receives. Liveness does not test Redis: a restart would only drop the sockets.
"""

from __future__ import annotations

import json
from typing import Any

from ws_gateway.gateway import Gateway
from ws_gateway.problems import CONTENT_TYPE, problem


class HealthEndpoint:
    """The ASGI application of the probes; any other path is 404, as a problem document."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: dict[str, Any], _receive: Any, send: Any) -> None:
        if scope["path"] == "/health/live":
            await _answer(send, 200, json.dumps({"status": "ok", "node": self._gateway.node}).encode())
        elif scope["path"] == "/health/ready":
            is_ready = self._gateway.hub.connected
            state = "ok" if is_ready else "unavailable"
            body = {"status": state, "node": self._gateway.node, "checks": {"redis": state}}
            await _answer(send, 200 if is_ready else 503, json.dumps(body).encode())
        else:
            await _answer(send, 404, problem(scope, 404), CONTENT_TYPE)


async def _answer(send: Any, status: int, body: bytes, content_type: bytes = b"application/json") -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
