"""Connect and refresh: who the client is, what it is subscribed to from the start, how long that holds.

Source: docs/protocol.md, "Connect"; ADR-0004, ADR-0007.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clarion import permissions
from clarion.codes import DisconnectCode, UnsubscribeCode
from clarion.errors import PermissionRefused, TokenExpired, TokenInvalid, Unauthorized
from clarion.names import personal_channel
from clarion.tokens import ConnectionToken
from clarion.values import JSON
from ws_gateway.protocol import subscribing
from ws_gateway.protocol.commands import Command, ConnectRequest, RefreshRequest, SubscribeRequest
from ws_gateway.protocol.effects import Identify
from ws_gateway.protocol.replies import ConnectResult, Push, Refresh, RefreshResult, Reply, SubscribeResult
from ws_gateway.protocol.verifying import verified

if TYPE_CHECKING:
    from ws_gateway.protocol.session import Session

NO_REQUEST = SubscribeRequest()


def connect(session: Session, command: Command, request: ConnectRequest) -> None:
    """Find out who connects.

    Raises:
        TokenExpired: error 109; the client fetches a new token and connects again.
        KeysUnavailable: error 100, temporary.
        Unauthorized: error 101; neither token nor session, and the configuration asks for one.
    """
    rules = session.rules
    client = rules.config.client
    if request.token:
        token = _verified(session, command, request.token)
        if token is not None:
            _welcome(session, command, token)
    elif session.may_use_cookie:
        session.do(Identify(command))
    elif client.insecure or (client.allow_anonymous_connect_without_token and session.has_origin):
        _welcome(session, command, ConnectionToken(user="", expires_at=0))
    else:
        raise Unauthorized("connect with a token, or sign in")


def identified(session: Session, command: Command, user: str | None, now: float) -> None:
    """Go on with a connect: the session cookie is this user's ("": nobody's; None: it could not be read)."""
    session.now = now
    if session.is_closed:
        return
    client = session.rules.config.client
    if user is None:
        session.close(DisconnectCode.SERVER_ERROR)
    elif user or client.insecure or client.allow_anonymous_connect_without_token:
        session.attempt(command, lambda: _welcome(session, command, ConnectionToken(user=user, expires_at=0)))
    else:
        session.refuse_connect(command.id, Unauthorized("connect with a token, or sign in"))


def _verified(session: Session, command: Command, token: str) -> ConnectionToken | None:
    """What a token says; None: the session is closed, or waits for the token's key."""
    try:
        return verified(session, command, session.rules.verifier.verify_connection, token)
    except TokenExpired:
        raise
    except TokenInvalid:
        session.close(DisconnectCode.INVALID_TOKEN)
    return None


def _welcome(session: Session, command: Command, token: ConnectionToken) -> None:
    rules = session.rules
    channels = _server_channels(session, token)
    session.user, session.info, session.meta = token.user, token.info, token.meta
    if _is_one_too_many(session):
        session.close(DisconnectCode.CONNECTION_LIMIT)
        return
    _set_expiry(session, token.expires_at)
    if len(channels) > rules.config.client.channel_limit:
        session.close(DisconnectCode.CHANNEL_LIMIT)
        return
    if not channels:
        _finish(session, {})
        return
    request = command.connect
    assert request is not None
    ServerSubscriptions(session, channels, request.subs).start()


def _is_one_too_many(session: Session) -> bool:
    limit = session.rules.config.client.user_connection_limit
    return bool(limit and session.user) and session.rules.connections_of(session.user) >= limit


def _server_channels(session: Session, token: ConnectionToken) -> dict[str, Any]:
    """The channels that the server subscribes this connection to, each with its ``subs`` options or None.

    Raises:
        NamespaceUnknown: error 102. PermissionRefused: 103; another user's personal channel. NameInvalid: 107.
    """
    channels: dict[str, Any] = dict.fromkeys(token.channels)
    channels.update(token.subs)
    if token.user and session.rules.config.client.subscribe_to_user_personal_channel.enabled:
        channels.setdefault(personal_channel(token.user), None)
    for channel in channels:  # all before the first is joined: a refused connect leaves nothing behind
        permissions.may_subscribe(session.rules.config, channel, token.user, granted=True).check()
    return channels


class ServerSubscriptions:
    """The subscriptions that come with a connect: all are made, then the connect command is answered."""

    __slots__ = ("_channels", "_requests", "_results", "_session")

    def __init__(self, session: Session, channels: dict[str, Any], requests: dict[str, SubscribeRequest]) -> None:
        self._session = session
        self._channels = channels
        self._requests = requests
        self._results: dict[str, SubscribeResult] = {}

    def start(self) -> None:
        """Ask for all of them."""
        for channel, options in self._channels.items():
            subscribing.server_subscribe(
                self._session, channel, options, self._requests.get(channel, NO_REQUEST), self._joined
            )

    def _joined(self, channel: str, result: SubscribeResult | None) -> None:
        if result is None:
            self._session.close(DisconnectCode.SERVER_ERROR)
            return
        self._results[channel] = result
        if len(self._results) == len(self._channels):
            _finish(self._session, self._results)


def _finish(session: Session, subs: dict[str, SubscribeResult]) -> None:
    rules = session.rules
    client = rules.config.client
    if _is_one_too_many(session):  # others of the user may have been answered meanwhile
        session.close(DisconnectCode.CONNECTION_LIMIT)
        return
    result = ConnectResult(
        client=session.client,
        version=rules.version,
        expires=session.expires_at > 0,
        ttl=_ttl(session),
        subs=subs,
        ping=int(client.ping_interval),
        pong=True,
        session=session.session,
        node=rules.node if session.session else "",
    )
    session.is_connected = True
    session.answer(Reply(id=session.connect_id, connect=result))
    # Spread: of clients that came at once, each is pinged at another time. The driver's clock decides nothing else.
    session.ping_due = session.now + client.ping_interval * session.first_ping
    set_due(session)
    session.resume("")


def refresh(session: Session, command: Command, request: RefreshRequest) -> None:
    """Take a new token for the connection.

    Raises:
        TokenExpired: error 109.
        PermissionRefused: error 103; it is another user's token.
        KeysUnavailable: 100, temporary.
    """
    token = _verified(session, command, request.token)
    if token is None:
        return
    if token.user != session.user:
        raise PermissionRefused("the token is another user's")
    session.info, session.meta = token.info, token.meta
    _set_expiry(session, token.expires_at)
    set_due(session)
    result = RefreshResult(
        client=session.client, version=session.rules.version, expires=session.expires_at > 0, ttl=_ttl(session)
    )
    session.answer(Reply(id=command.id, refresh=result))


def refresh_by_server(session: Session, *, expires_at: int, info: JSON, now: float) -> None:
    """Set the connection's expiry (0: never) by the server API, and tell the client."""
    session.now = now
    if info is not None:
        session.info = info
    _set_expiry(session, expires_at)
    set_due(session)
    session.say(Reply(push=Push(refresh=Refresh(expires=session.expires_at > 0, ttl=_ttl(session)))))


def _set_expiry(session: Session, expires_at: int) -> None:
    if not expires_at:
        session.expires_at = 0.0
        return
    left_s = expires_at - session.rules.wall()
    session.expires_at = session.now + left_s + session.rules.config.client.expired_close_delay


def _ttl(session: Session) -> int:
    if not session.expires_at:
        return 0
    return max(1, round(session.expires_at - session.now - session.rules.config.client.expired_close_delay))


# The clock


def set_due(session: Session) -> None:
    """Set when something is to be done next."""
    if not session.is_connected:
        session.due = session.started_at + session.rules.config.client.stale_close_delay
        return
    due = session.pong_due or session.ping_due
    if session.expires_at:
        due = min(due, session.expires_at)
    for subscription in session.subscriptions.values():
        if subscription.expires_at:
            due = min(due, subscription.expires_at)
    session.due = due


def tick(session: Session) -> None:
    """Do what is due."""
    now = session.now
    if not session.is_connected:
        if now >= session.started_at + session.rules.config.client.stale_close_delay:
            session.close(DisconnectCode.STALE)
    elif session.pong_due and now >= session.pong_due:
        session.close(DisconnectCode.NO_PONG)
    elif session.expires_at and now >= session.expires_at:
        session.close(DisconnectCode.EXPIRED)
    else:
        _expire_subscriptions(session)
        _ping(session)
    set_due(session)


def _ping(session: Session) -> None:
    if session.is_closed or session.now < session.ping_due:
        return
    client = session.rules.config.client
    session.say(Reply())
    session.ping_due = session.now + client.ping_interval
    session.pong_due = session.now + client.pong_timeout


def _expire_subscriptions(session: Session) -> None:
    late = [
        channel
        for channel, subscription in session.subscriptions.items()
        if subscription.expires_at and session.now >= subscription.expires_at
    ]
    for channel in late:
        if session.subscriptions[channel].is_server_side:
            session.close(DisconnectCode.SUBSCRIPTION_EXPIRED)
            return
        session.unsubscribe(channel, UnsubscribeCode.EXPIRED)
