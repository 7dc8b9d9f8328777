"""Which pages may connect, and what a browser on another origin must be told for that.

Source: docs/protocol.md, "Endpoints"; the Fetch standard, "CORS protocol".
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from ws_gateway.credentials import header_of

Headers = list[tuple[bytes, bytes]]


class Origin(Enum):
    """Where a request comes from."""

    ALLOWED = "allowed"
    FOREIGN = "foreign"
    NONE = "none"  # no browser: a token must say who it is


def origin_of(scope: dict[str, Any], allowed: frozenset[str]) -> Origin:
    """Judge a request's Origin header. A GET of the page's own origin has none: Sec-Fetch-Site says so."""
    origin = header_of(scope, b"origin")
    if origin is None:
        same = header_of(scope, b"sec-fetch-site") == "same-origin"
        return Origin.ALLOWED if same else Origin.NONE
    return Origin.ALLOWED if origin.lower() in allowed else Origin.FOREIGN


def cors_headers(scope: dict[str, Any], origin: Origin) -> Headers:
    """What lets a page of an allowed origin read the answer."""
    value = header_of(scope, b"origin")
    if origin is not Origin.ALLOWED or value is None:
        return [(b"vary", b"origin")]
    return [
        (b"vary", b"origin"),
        (b"access-control-allow-origin", value.encode("latin-1")),
        (b"access-control-allow-credentials", b"true"),
    ]


def preflight_headers(scope: dict[str, Any], origin: Origin) -> Headers:
    """The answer to OPTIONS."""
    return [
        *cors_headers(scope, origin),
        (b"access-control-allow-methods", b"GET, POST"),
        (b"access-control-allow-headers", b"content-type"),
        (b"access-control-max-age", b"600"),
    ]
