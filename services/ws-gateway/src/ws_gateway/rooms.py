"""Plain rooms, ``/ws/<channel>/``: what is published to the channel arrives as one text frame of exactly that JSON.

A client's own text frame is JSON that is published to the channel, if its namespace allows that. Anything else is
answered by ``{"error": {"code", "message"}}`` and the socket stays. A client that may not join gets an accepted
handshake and then a close code of :class:`clarion.codes.RoomCloseCode`, because a browser cannot tell a refused
handshake from a broken network.

Source: docs/protocol.md, "Plain rooms".
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import structlog
from django.db import Error as DatabaseError

from clarion.codes import CloseCode, RoomCloseCode
from clarion.errors import (
    ClarionError,
    DataInvalid,
    KeysUnavailable,
    NameInvalid,
    NamespaceUnknown,
    PermissionRefused,
    TooManyRequests,
    Unauthorized,
)
from clarion.names import CHANNEL_MAX_CHARS
from clarion.publications import publication
from clarion.server import Connection, text_frame
from clarion.values import json_decode, json_encode, publication_check
from ws_gateway.access import Admission, origin_check, room_admit
from ws_gateway.credentials import (
    SUBPROTOCOL,
    Scope,
    has_session_cookie,
    header_of,
    identity_of,
    query_of,
    token_of,
)

if TYPE_CHECKING:
    from ws_gateway.gateway import Gateway

log = structlog.stdlib.get_logger("ws_gateway.rooms")

PREFIX: Final = "/ws/"
PUBLISHING_MAX: Final = 64
"""A client's frames that may wait for Redis; over it they are refused with ``too_many_requests``."""

_CLOSE_CODES: Final[dict[type[ClarionError], RoomCloseCode | CloseCode]] = {
    NameInvalid: RoomCloseCode.NAME_INVALID,
    Unauthorized: RoomCloseCode.UNAUTHORIZED,
    PermissionRefused: RoomCloseCode.FORBIDDEN,
    NamespaceUnknown: RoomCloseCode.NAMESPACE_UNKNOWN,
    KeysUnavailable: CloseCode.TRY_LATER,
}


class RoomEndpoint:
    """The ASGI application of plain rooms: it admits a client, hands its socket to a session, and returns."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        await receive()  # websocket.connect
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in scope.get("subprotocols", []) else None
        try:
            admission = await self._admit(scope)
        except (ClarionError, TimeoutError, DatabaseError) as exc:
            await self._refuse(scope, send, subprotocol, exc)
        else:
            await self._join(scope, send, subprotocol, admission)

    async def _admit(self, scope: Scope) -> Admission:
        gateway = self._gateway
        channel = channel_of(scope)
        origin = header_of(scope, b"origin")
        # The origin first: a foreign page learns nothing of its visitor's session. A token stands for itself.
        origin_check(
            origin,
            gateway.origins,
            has_token=token_of(scope)[0] is not None,
            has_cookie=has_session_cookie(scope),
            insecure=gateway.config.client.insecure,
        )
        identity = await identity_of(scope, gateway.rules.verifier, gateway.join_timeout_s)
        return room_admit(gateway.config, channel, identity)

    async def _refuse(self, scope: Scope, send: Any, subprotocol: str | None, exc: Exception) -> None:
        if isinstance(exc, ClarionError):
            code: int = next(code for kind, code in _CLOSE_CODES.items() if isinstance(exc, kind))
            reason, error = exc.detail, exc.code
        else:
            code, reason, error = CloseCode.TRY_LATER, "the session cannot be checked now", type(exc).__name__
        log.warning(
            "connection.refused",
            close_code=int(code),
            error=error,
            channel=channel_of(scope)[:CHANNEL_MAX_CHARS],
            origin=header_of(scope, b"origin"),
            client=scope["client"] and scope["client"][0],
            request_id=header_of(scope, b"x-request-id"),  # nginx's, as its access log has it
        )
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        await send({"type": "websocket.close", "code": int(code), "reason": reason})

    async def _join(self, scope: Scope, send: Any, subprotocol: str | None, admission: Admission) -> None:
        connection: Connection = scope["extensions"]["clarion.connection"]
        session = RoomSession(self._gateway, connection, admission)
        async with self._gateway.hub.holding(admission.channel, self._gateway.join_timeout_s):
            await send({"type": "websocket.accept", "subprotocol": subprotocol, "clarion.session": session})
            # No await from here to the end of start(): the client cannot be lost in between.
            session.start(hello=query_of(scope).get("hello") == "1")


def channel_of(scope: Scope) -> str:
    """The channel that a path ``/ws/<channel>/`` names, unquoted but unchecked: ``%2F`` is a character of the name."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return unquote(raw.decode("latin-1").removeprefix(PREFIX).removesuffix("/"))


class RoomSession:
    """One client in a plain room: a detached session of the server. It holds no task while nothing is under way."""

    __slots__ = ("_admission", "_connection", "_gateway", "_is_closed", "_publishing")

    def __init__(self, gateway: Gateway, connection: Connection, admission: Admission) -> None:
        self._gateway = gateway
        self._connection = connection
        self._admission = admission
        self._is_closed = False
        self._publishing: deque[Any] | None = None  # made with the first frame: most clients only listen

    def start(self, *, hello: bool) -> None:
        """Make the client a member, unless it is gone already; called once the handshake has been answered."""
        if self._is_closed:
            return
        if hello:
            who = {"node": self._gateway.node, "channel": self._admission.channel, "user": self._admission.user}
            self._write({"hello": who})
        self._gateway.hub.join(self._admission.channel, self._connection)

    def received(self, message: str | bytes) -> None:
        """Publish a client's frame, or answer what is wrong with it."""
        raw = message.encode() if isinstance(message, str) else message
        most = self._gateway.config.limits.room_frame_bytes
        if len(raw) > most:
            self._connection.close(CloseCode.TOO_BIG, f"a frame has at most {most} bytes")
            return
        try:
            if isinstance(message, bytes):
                raise DataInvalid("a frame is JSON text, not binary")
            self._publish(json_decode(raw))
        except ClarionError as exc:
            self._error(exc)

    def closed(self, code: int) -> None:
        """Leave the channel; what the client had sent before is still published."""
        self._is_closed = True
        self._gateway.hub.leave(self._admission.channel, self._connection)

    def _publish(self, data: Any) -> None:
        publication_check(data, self._gateway.config.limits.publication_bytes)
        if not self._admission.may_publish:
            raise PermissionRefused("this user may not publish to this channel")
        if self._publishing is None:
            self._publishing = deque()
        if len(self._publishing) >= PUBLISHING_MAX:
            raise TooManyRequests
        self._publishing.append(data)
        if len(self._publishing) == 1:  # else the task that sends the one before goes on with it: order is kept
            self._gateway.start_task(self._send_all(self._publishing))

    async def _send_all(self, waiting: deque[Any]) -> None:
        while waiting:
            try:
                await self._gateway.layer.group_send(self._admission.channel, publication(waiting[0]))
            except ClarionError as exc:
                self._error(exc)
            finally:
                waiting.popleft()

    def _error(self, exc: ClarionError) -> None:
        self._write({"error": {"code": exc.code, "message": exc.detail}})

    def _write(self, value: Any) -> None:
        self._connection.write(text_frame(json_encode(value)))
