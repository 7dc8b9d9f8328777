"""``/health/live`` and ``/health/ready``, outside Django's stack: no ALLOWED_HOSTS, thread or database in the way.

Live: the event loop answers. Ready: Redis is there and every subscription stands, so that a client that joins
receives; and the gateway is not about to leave. Liveness does not test Redis: a restart would only drop the sockets.

Here they answer on the port of the clients; :mod:`ws_gateway.service` answers them on the internal port.
"""

from __future__ import annotations

import json
from typing import Any

from clarion.internal import OK, Check
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
            checks = {name: check() for name, check in ready_checks(self._gateway).items()}
            is_ready = all(state == OK for state in checks.values())
            body = {"status": OK if is_ready else "unavailable", "node": self._gateway.node, "checks": checks}
            await _answer(send, 200 if is_ready else 503, json.dumps(body).encode())
        else:
            await _answer(send, 404, problem(scope, 404), CONTENT_TYPE)


def ready_checks(gateway: Gateway) -> dict[str, Check]:
    """What has to hold for a gateway to be sent clients; to be asked from any thread."""
    return {
        "redis": lambda: OK if gateway.hub.connected else "unavailable",
        "drain": lambda: "draining" if gateway.is_draining else OK,
    }


async def _answer(send: Any, status: int, body: bytes, content_type: bytes = b"application/json") -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
