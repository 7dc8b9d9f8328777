"""The gateway's problem document, for whatever it does not serve. Source: RFC 9457; docs/reference/errors.md."""

from __future__ import annotations

import json
from typing import Any, Final

from ws_gateway.credentials import header_of

CONTENT_TYPE: Final = b"application/problem+json"


def not_found(scope: dict[str, Any]) -> bytes:
    """The body of a 404."""
    problem = {
        "type": "urn:clarion:problem:not_found",
        "title": "Not Found",
        "status": 404,
        "detail": "There is nothing here.",
        "code": "not_found",
        "request_id": header_of(scope, b"x-request-id") or "",
    }
    return json.dumps(problem).encode()
