"""``/connection/http_stream`` and ``/connection/sse``: the client protocol's way down as an endless HTTP response.

The first commands come with the request, all others by ``/emulation``, which finds the response by the session and the
node that the connect's reply names.

Source: docs/protocol.md, "Endpoints".
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

import structlog

from clarion.server import HttpStream
from ws_gateway.credentials import has_session_cookie, header_of, query_of
from ws_gateway.endpoints.bodies import BodyTooLarge, ClientGone, body_of, bounded
from ws_gateway.endpoints.client import Client
from ws_gateway.endpoints.origins import Origin, cors_headers, origin_of, preflight_headers
from ws_gateway.problems import answer_problem
from ws_gateway.protocol.formats import HTTP_STREAM, HTTP_STREAM_UNCHUNKED, SSE, SSE_UNCHUNKED, Format

if TYPE_CHECKING:
    from ws_gateway.gateway import Gateway

log = structlog.stdlib.get_logger("ws_gateway.connection")

Scope = dict[str, Any]

_HEADERS: Final = [
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx: each event leaves at once, whatever it is told elsewhere
]


class StreamClient(Client):
    """A client whose way down is an HTTP response; its way up is ``/emulation``."""

    __slots__ = ()

    def closed(self, code: int) -> None:
        """Leave everything; ``/emulation`` finds it no more."""
        self._gateway.clients.session_close(self)
        super().closed(code)


class _StreamEndpoint:
    method: str
    content_type: bytes

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._max_bytes = gateway.config.limits.connection_frame_bytes

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        origin = origin_of(scope, self._gateway.origins)
        if origin is Origin.FOREIGN:
            log.warning("connection.refused", error="origin", origin=header_of(scope, b"origin"))
            self._gateway.rules.counts.refused["origin"] += 1
            await answer_problem(scope, send, 403, "this Origin is not allowed")
        elif scope["method"] == "OPTIONS":
            await send({"type": "http.response.start", "status": 204, "headers": preflight_headers(scope, origin)})
            await send({"type": "http.response.body"})
        elif scope["method"] != self.method:
            await answer_problem(scope, send, 405, f"use {self.method}", [(b"allow", self.method.encode())])
        elif "clarion.connection" not in scope.get("extensions", {}):
            await answer_problem(scope, send, 505, "use HTTP/1.1")
        else:
            await self._stream(scope, receive, send, origin)

    async def _stream(self, scope: Scope, receive: Any, send: Any, origin: Origin) -> None:
        try:
            first = await self.first_commands(scope, receive)
        except BodyTooLarge as exc:
            await answer_problem(scope, send, 413, str(exc))
            return
        except ClientGone:
            return
        connection: HttpStream = scope["extensions"]["clarion.connection"]
        client = StreamClient(
            self._gateway,
            connection,
            self.format(is_chunked=connection.is_chunked),
            scope=scope if origin is Origin.ALLOWED and has_session_cookie(scope) else None,
            has_origin=origin is Origin.ALLOWED,
            session=secrets.token_urlsafe(16),
            says_why=True,
        )
        headers = [(b"content-type", self.content_type), *_HEADERS, *cors_headers(scope, origin)]
        await send({"type": "http.response.start", "status": 200, "headers": headers, "clarion.session": client})
        # No await from here on: the client cannot be lost in between.
        client.start()
        if client.is_gone:
            return
        self._gateway.clients.session_open(client)
        client.take(first)
        client.run()

    async def first_commands(self, scope: Scope, receive: Any) -> bytes:
        """The commands that came with the request."""
        raise NotImplementedError

    def format(self, *, is_chunked: bool) -> Format:
        """How the response is framed."""
        raise NotImplementedError


class HttpStreamEndpoint(_StreamEndpoint):
    """POST: the body holds the first commands; the answer is lines of replies."""

    method = "POST"
    content_type = b"application/json; charset=utf-8"

    async def first_commands(self, scope: Scope, receive: Any) -> bytes:
        """See :class:`_StreamEndpoint`."""
        return await body_of(receive, self._max_bytes)

    def format(self, *, is_chunked: bool) -> Format:
        """See :class:`_StreamEndpoint`."""
        return HTTP_STREAM if is_chunked else HTTP_STREAM_UNCHUNKED


class SseEndpoint(_StreamEndpoint):
    """GET with ``cf_connect``, a connect command; the answer is server-sent events of replies."""

    method = "GET"
    content_type = b"text/event-stream; charset=utf-8"

    async def first_commands(self, scope: Scope, receive: Any) -> bytes:
        """See :class:`_StreamEndpoint`."""
        return bounded(query_of(scope).get("cf_connect", "").encode("utf-8", "replace"), self._max_bytes)

    def format(self, *, is_chunked: bool) -> Format:
        """See :class:`_StreamEndpoint`."""
        return SSE if is_chunked else SSE_UNCHUNKED
