"""A request's body, bounded."""

from __future__ import annotations

from typing import Any, Final


class BodyTooLarge(ValueError):
    """The body is over the limit: HTTP 413."""


_TOO_LARGE: Final = "a request has at most {:,} bytes"


class ClientGone(ConnectionError):
    """The client left before its request was complete."""


async def body_of(receive: Any, max_bytes: int) -> bytes:
    """Read a request's body.

    Raises:
        BodyTooLarge: over ``max_bytes``.
        ClientGone: there is nobody to answer.
    """
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise BodyTooLarge(_TOO_LARGE.format(max_bytes))
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def bounded(commands: bytes, max_bytes: int) -> bytes:
    """What came in a URL in a body's place.

    Raises:
        BodyTooLarge: over ``max_bytes``.
    """
    if len(commands) > max_bytes:
        raise BodyTooLarge(_TOO_LARGE.format(max_bytes))
    return commands
