"""HTTP clients of the generator: one request at a time on a keep-alive connection, again and again."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import cast


class HttpClient(asyncio.Protocol):
    """One keep-alive connection; it counts answers by status while ``is_running``."""

    def __init__(self, request: bytes, statuses: Counter[int]) -> None:
        self.is_running = True
        self.transport: asyncio.Transport | None = None
        self._request = request
        self._statuses = statuses
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Count a whole answer and send the next request."""
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end or len(body) < _content_length(head):
            return
        self._answer = b""
        if self.is_running and self.transport is not None:
            self._statuses[int(head[9:12])] += 1
            self.transport.write(self._request)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Count a connection that the server closed as status 0."""
        if self.is_running:
            self._statuses[0] += 1

    def stop(self) -> None:
        """End the connection; what is under way does not count."""
        self.is_running = False
        if self.transport is not None:
            self.transport.abort()


def _content_length(head: bytes) -> int:
    _, _, after = head.lower().partition(b"content-length:")
    return int(after.split(b"\r\n", 1)[0]) if after else 0
