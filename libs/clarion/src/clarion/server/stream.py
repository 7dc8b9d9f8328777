"""An HTTP response that its application has detached from: a head, then whatever its session writes, until the end.

Source: RFC 9112, sections 6 and 7.1; :class:`clarion.server.session.StreamSession`.
"""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import formatdate
from http.client import responses
from typing import TYPE_CHECKING, Any

from websockets.datastructures import Headers
from websockets.frames import CloseCode
from websockets.http11 import Response

from clarion.server.connection import CLOSE_TIMEOUT_S, Connection
from clarion.server.frames import LAST_CHUNK
from clarion.server.handshake import add_headers
from clarion.server.losses import Lost
from clarion.server.sniff import set_protocol
from clarion.server.writer import call_soon

if TYPE_CHECKING:
    from clarion.server.connection import Driver
    from clarion.server.limits import Shared
    from clarion.server.session import StreamSession

MAX_INBOUND_BYTES = 65536  # behind the request: room for another one, which the client should not have sent

_WITHOUT_BODY = frozenset((204, 205, 304))


class HttpStream(Connection):
    """The connection of an HTTP request; a session may write to it once the response has begun.

    Attributes:
        is_chunked: what is written must be framed by :func:`~clarion.server.chunk`. False for HTTP/1.0, whose body ends
            with the connection: there the bare bytes are written.
    """

    __slots__ = ("_inbound_bytes", "is_chunked")

    def __init__(self, shared: Shared, client: tuple[str, int] | None, *, is_chunked: bool) -> None:
        super().__init__(shared, client)
        self.is_chunked = is_chunked
        self._inbound_bytes = 0

    def begin(self, transport: Any, head: bytes, session: StreamSession, driver: Driver) -> None:
        """Take the transport from the HTTP protocol, send the head, and let the session write."""
        shared = self._shared
        set_protocol(transport, self)
        self._session = session
        self._driver = driver
        self._opened_at = shared.wheel.now
        shared.sockets.add(self)
        if shared.detached_lifetime_s is not None:
            shared.wheel.schedule(self, shared.detached_lifetime_s)
        self._attach(transport)
        self._begin()
        self.write(head)
        # The HTTP protocol has paused it if too much was sent behind the request (trap 46).
        call_soon(shared, self._resume)

    def refuse(self, session: StreamSession, code: int) -> None:
        """Tell a session that there is no stream for it."""
        self._ended = True
        self.tell_lost(session, code)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """End the body; what was written before goes out before its end.

        The client has five seconds to take it and to hang up. Neither code nor reason is sent: the code is what
        ``session.closed`` is told, from the event loop. A second call does nothing.
        """
        if not self.open:
            return
        if self.is_chunked:
            self.write(LAST_CHUNK)
        self._shut()
        if self._transport is not None:  # else it was given up over the last chunk: 1006 follows
            self._end_stream()
            self._end(code, reason, later=True)
            self._shared.wheel.schedule(self, CLOSE_TIMEOUT_S)

    def fail(self, code: int, reason: str = "") -> None:
        """End the body because of a fault."""
        self.close(code, reason)

    # Twisted

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Drop what is sent behind the request: the head has said that this response is the last one."""
        self._inbound_bytes += len(data)
        if self._inbound_bytes > MAX_INBOUND_BYTES and not self._ended:
            self.lose(Lost.FLOOD)

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        """The client is gone."""
        if self.access is not None:
            self.access("complete")
        super().connectionLost(reason)

    # Inside

    def _check(self) -> None:
        self.close(CloseCode.SERVICE_RESTART, "the connection's lifetime is over")

    def _resume(self) -> None:
        if self._transport is not None:
            self._transport.resumeProducing()


def response_head(status: int, headers: Iterable[tuple[bytes, bytes]], *, server_name: str, is_chunked: bool) -> bytes:
    """Write the head of a response whose end nobody knows yet.

    Raises:
        ValueError: a status whose responses have no body, or a header that would break out of its line.
    """
    if not 200 <= status < 600 or status in _WITHOUT_BODY:
        raise ValueError(f"a response with status {status} has no body that a session could write")
    lines = Headers()
    add_headers(lines, headers)
    if "Date" not in lines:
        lines["Date"] = formatdate(usegmt=True)
    if server_name and "Server" not in lines:
        lines["Server"] = server_name
    if is_chunked:
        lines["Transfer-Encoding"] = "chunked"
    lines["Connection"] = "close"  # so that nobody sends another request behind a body that may take hours
    return Response(status, responses.get(status, ""), lines).serialize()
