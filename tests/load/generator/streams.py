"""Clients whose way down is an endless HTTP response in chunks: HTTP streaming and server-sent events.

What they say comes with the request. They are not heard again, so a server that wants its pings answered cuts them in
the end; no measurement takes so long.

Source: RFC 9112 section 7.1.
"""

from __future__ import annotations

from tests.load.generator.clients import CLOSE, TEXT, Frame
from tests.load.generator.talking import TalkClient


class StreamClient(TalkClient):
    """Connected once the request's own commands are answered; a chunk is to it what a frame is to a WebSocket."""

    def is_welcome(self, head: bytes) -> bool:
        """Whether the response has begun, and is a stream."""
        return head.startswith(b"HTTP/1.1 200") and b"chunked" in head.lower()

    def send(self, _frame: bytes) -> None:
        """Say nothing: there is no way up."""

    @staticmethod
    def frame_at(data: bytes, at: int) -> Frame | None:
        """The chunk that starts at ``at``; None unless all of it is there."""
        start = data.find(b"\r\n", at) + 2
        if start < 2:
            return None
        size = int(data[at : start - 2], 16)
        behind = start + size + 2
        if len(data) < behind:
            return None
        return (TEXT if size else CLOSE), start, start + size, behind
