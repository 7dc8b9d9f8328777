"""What stands around the lab's sockets: who may open one, what is refused, and a thread for each.

The lessons behind it are plain Channels. Source: docs/tutorial/channels.md; services/ws-gateway/README.md.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, Final

import structlog
from channels.routing import URLRouter
from django.db import Error as DatabaseError

from clarion.codes import CloseCode
from clarion.errors import ChannelLayerUnavailable, ClarionError, TooManyRequests
from ws_gateway.credentials import Scope, header_of
from ws_gateway.lab.frames import error
from ws_gateway.lab.own_thread import own_thread
from ws_gateway.problems import refuse_handshake
from ws_gateway.sessions import session_stack

log = structlog.stdlib.get_logger("ws_gateway.lab")

SOCKETS_MAX: Final = 500
"""Of one process: each may hold a thread, and the lab is beside the production path, not in its way."""


class LabSockets:
    """The ASGI application of ``/ws/lab/…``.

    A page of another origin gets 403, an unknown path 404, both at the handshake. A client without an Origin (curl, a
    script) is welcome: browsers always send one, so it is no page that uses its visitor's session.
    """

    def __init__(self, patterns: Sequence[Any], origins: Collection[str], *, sockets_max: int = SOCKETS_MAX) -> None:
        self._patterns = patterns
        self._origins = origins
        self._sockets_max = sockets_max
        self.sockets = 0
        """Open now, from the handshake to the consumer's end."""
        self._lessons: Any = session_stack(URLRouter(list(patterns)))

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        origin = header_of(scope, b"origin")
        if origin is not None and origin.lower() not in self._origins:
            log.warning("connection.refused", error="permission_denied", origin=origin, path=scope["path"])
            await refuse_handshake(scope, receive, send, 403, "this Origin is not allowed")
        elif not any(pattern.pattern.match(scope["path"].removeprefix("/")) for pattern in self._patterns):
            await refuse_handshake(scope, receive, send, 404)
        elif self.sockets >= self._sockets_max:
            await _come_back(scope, send, TooManyRequests("the lab has as many sockets as it takes: try again later"))
        else:
            self.sockets += 1
            try:
                await self._teach(scope, receive, send)
            finally:
                self.sockets -= 1

    async def _teach(self, scope: Scope, receive: Any, send: Any) -> None:
        has_answered = False

        async def answer(message: dict[str, Any]) -> None:
            nonlocal has_answered
            has_answered = True
            await send(message)

        try:
            async with own_thread():
                await self._lessons(scope, receive, answer)
        except (ChannelLayerUnavailable, DatabaseError) as exc:
            if has_answered:  # the lesson's own fault: the server closes its socket with 1011
                raise
            await _come_back(scope, send, exc)


async def _come_back(scope: Scope, send: Any, exc: ClarionError | DatabaseError) -> None:
    """Accept, say why in a frame, and close with 1013: a page cannot read the reason of a refused handshake."""
    if isinstance(exc, ClarionError):
        code, text = exc.code, exc.detail
    else:
        code, text = "database_unavailable", "the database did not answer: try again"
    log.warning("connection.refused", close_code=1013, error=code, cause=repr(exc.__cause__ or exc), path=scope["path"])
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps(error(code, text))})
    await send({"type": "websocket.close", "code": int(CloseCode.TRY_LATER), "reason": text})
