"""Plain rooms, ``/ws/<channel>/``: what is published to the channel arrives as one text frame of exactly that JSON.

``?since=<offset>&epoch=<epoch>`` first brings what was published behind that place, then goes on live, and the socket
closes with 4410 when the place is lost later. ``?envelope=1`` sends each message with its place.

A client's own text frame is JSON that is published to the channel, if its namespace allows that. Anything else is
answered by ``{"error": {"code", "message"}}`` and the socket stays. A client that may not join gets an accepted
handshake and then a close code of :class:`clarion.codes.RoomCloseCode`, because a browser cannot tell a refused
handshake from a broken network.

Source: docs/protocol.md, "Plain rooms".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import structlog
from django.db import Error as DatabaseError

from clarion.codes import CloseCode, RoomCloseCode
from clarion.errors import (
    ChannelLayerUnavailable,
    ClarionError,
    KeysUnavailable,
    NameInvalid,
    NamespaceUnknown,
    PermissionRefused,
    RequestInvalid,
    Unauthorized,
)
from clarion.names import CHANNEL_MAX_CHARS
from clarion.server import Connection
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
from ws_gateway.hub import Recovered
from ws_gateway.room_query import RoomQuery, room_query
from ws_gateway.room_session import RoomSession

if TYPE_CHECKING:
    from ws_gateway.gateway import Gateway

log = structlog.stdlib.get_logger("ws_gateway.rooms")

PREFIX: Final = "/ws/"
_UNREAD: Final = "what was missed cannot be read now: come back"
_CLOSE_CODES: Final[dict[type[ClarionError], RoomCloseCode | CloseCode]] = {
    NameInvalid: RoomCloseCode.NAME_INVALID,
    RequestInvalid: RoomCloseCode.NAME_INVALID,
    Unauthorized: RoomCloseCode.UNAUTHORIZED,
    PermissionRefused: RoomCloseCode.FORBIDDEN,
    NamespaceUnknown: RoomCloseCode.NAMESPACE_UNKNOWN,
    KeysUnavailable: CloseCode.TRY_LATER,
    ChannelLayerUnavailable: CloseCode.TRY_LATER,
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
            await self._join(scope, send, subprotocol, admission, room_query(query_of(scope)))
        except (ClarionError, TimeoutError, DatabaseError) as exc:  # all of them come before the accept
            await self._refuse(scope, send, subprotocol, exc)

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
            code, reason, error = CloseCode.TRY_LATER, "the session cannot be checked now", "session_unread"
        self._gateway.rules.counts.refused[error] += 1
        log.warning(
            "connection.refused",
            close_code=int(code),
            error=error,
            cause=type(exc.__cause__ or exc).__name__,
            channel=channel_of(scope)[:CHANNEL_MAX_CHARS],
            origin=header_of(scope, b"origin"),
            client=scope["client"] and scope["client"][0],
            request_id=header_of(scope, b"x-request-id"),  # nginx's, as its access log has it
        )
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        await send({"type": "websocket.close", "code": int(code), "reason": reason})

    async def _join(
        self, scope: Scope, send: Any, subprotocol: str | None, admission: Admission, query: RoomQuery
    ) -> None:
        hub, channel = self._gateway.hub, admission.channel
        connection: Connection = scope["extensions"]["clarion.connection"]
        session = RoomSession(self._gateway, connection, admission)
        since = query.since if admission.may_recover else None
        async with hub.holding(channel, self._gateway.join_timeout_s, since=since) as is_ready:
            recovered = None if query.since is None else await self._recover(admission, query, is_ready=is_ready)
            # From here to the end of start() the loop does not turn (the server's accept does not wait): the client
            # cannot be lost in between, and misses nothing of what comes behind what was recovered.
            await send({"type": "websocket.accept", "subprotocol": subprotocol, "clarion.session": session})
            session.start(query, recovered, scope["extensions"].get("clarion.deflate"))

    async def _recover(self, admission: Admission, query: RoomQuery, *, is_ready: bool) -> Recovered:
        """Find what a client has missed.

        Raises:
            ChannelLayerUnavailable: Redis does not say: close code 1013, and no wrong answer.
        """
        config, hub = self._gateway.config, self._gateway.hub
        channel, since = admission.channel, query.since
        assert since is not None
        if not is_ready and config.is_recoverable(channel):
            raise ChannelLayerUnavailable(_UNREAD)
        if not admission.may_recover:
            offset, epoch = hub.position(channel)
            return Recovered(ok=False, publications=[], offset=offset, epoch=epoch)
        try:
            if config.options_of(channel).is_cache:
                return await hub.recover_latest(channel, since, query.epoch)
            limit = config.client.recovery_max_publication_limit
            return await hub.recover(channel, since, query.epoch, limit or 2**63)
        except ChannelLayerUnavailable as exc:
            raise ChannelLayerUnavailable(_UNREAD) from exc


def channel_of(scope: Scope) -> str:
    """The channel that a path ``/ws/<channel>/`` names, unquoted but unchecked: ``%2F`` is a character of the name."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return unquote(raw.decode("latin-1").removeprefix(PREFIX).removesuffix("/"))
