"""The gateway's problem documents, for what it does not serve. Source: RFC 9457; docs/reference/errors.md."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from ws_gateway.credentials import header_of

CONTENT_TYPE: Final = b"application/problem+json"
_CODES: Final = {
    400: "request_invalid",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    503: "layer_unavailable",
    505: "http_version",
}
_DETAILS: Final = {403: "You may not do that.", 404: "There is nothing here."}


def problem(scope: dict[str, Any], status: int, detail: str = "") -> bytes:
    """The body of a refusal."""
    document = {
        "type": f"urn:clarion:problem:{_CODES[status]}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail or _DETAILS.get(status, ""),
        "code": _CODES[status],
        "request_id": header_of(scope, b"x-request-id") or "",
    }
    return json.dumps(document).encode()


async def refuse_handshake(scope: dict[str, Any], receive: Any, send: Any, status: int, detail: str = "") -> None:
    """Answer a WebSocket's handshake with 403 or 404 and its problem document."""
    await receive()  # websocket.connect
    headers = [(b"content-type", CONTENT_TYPE)]
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": problem(scope, status, detail)})


async def answer_problem(
    scope: dict[str, Any],
    send: Any,
    status: int,
    detail: str = "",
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Answer an HTTP request with a problem document."""
    body = problem(scope, status, detail)
    lines = [(b"content-type", CONTENT_TYPE), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})
