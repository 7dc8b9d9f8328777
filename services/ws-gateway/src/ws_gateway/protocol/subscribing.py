"""Subscribe, unsubscribe and sub_refresh: which channels the client gets, and from where on.

Source: docs/protocol.md, "Subscribe"; ADR-0006, ADR-0007.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Raw

from clarion import permissions
from clarion.codes import UnsubscribeCode
from clarion.errors import (
    AlreadySubscribed,
    ClarionError,
    LimitExceeded,
    NotAvailable,
    PermissionRefused,
    RequestInvalid,
    TokenExpired,
    TokenInvalid,
)
from clarion.names import channel_check
from clarion.namespaces import ChannelOptions
from clarion.tokens import Override, SubscriptionToken, SubsOptions
from clarion.values import JSON, json_encode
from ws_gateway.protocol.commands import (
    Command,
    StreamPosition,
    SubRefreshRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)
from ws_gateway.protocol.effects import Deliver, Join, Leave
from ws_gateway.protocol.filters import filter_of
from ws_gateway.protocol.replies import Push, Reply, SubRefreshResult, Subscribe, SubscribeResult, UnsubscribeResult
from ws_gateway.protocol.subscriptions import Subscription
from ws_gateway.protocol.verifying import verified

if TYPE_CHECKING:
    from ws_gateway.protocol.session import Session

Joined: TypeAlias = Callable[[str, SubscribeResult | None], None]
"""Called once a server-side subscription stands, with None if it could not be made."""

FOSSIL = "fossil"


def subscribe(session: Session, command: Command, request: SubscribeRequest) -> None:
    """Begin a subscription that the client asks for.

    Raises:
        NameInvalid, RequestInvalid: error 107.
        NamespaceUnknown: 102.
        PermissionRefused: 103; the options do not allow it, or the token does not.
        AlreadySubscribed: 105.
        LimitExceeded: 106; over ``client.channel_limit``.
        NotAvailable: 108; a tags filter where the namespace has none.
        TokenExpired: 109.
        TooManyRequests: 111.
    """
    channel = sys.intern(channel_check(request.channel))  # one text for all of its subscribers
    if channel in session.subscriptions:
        raise AlreadySubscribed
    config = session.rules.config
    if len(session.subscriptions) + len(session.waiting) >= config.client.channel_limit:
        raise LimitExceeded(f"a connection has at most {config.client.channel_limit} subscriptions")
    token = None
    if request.token:
        token = _verified(session, command, request.token, channel)
        if token is None:
            session.waiting[channel] = []
            return
    permissions.may_subscribe(config, channel, session.user, granted=token is not None).check()
    options = config.options_of(channel)
    subscription = Subscription(info=token.info if token is not None else None)
    _agree(session, channel, subscription, options, request, token.override if token is not None else None)
    if token is not None:
        _set_expiry(session, subscription, token.expires_at)
    session.begin()
    session.waiting[channel] = []
    session.do(_join(command.id, channel, subscription, request, token.data if token is not None else None))


def server_subscribe(
    session: Session,
    channel: str,
    extra: SubsOptions | None,
    request: SubscribeRequest,
    joined: Joined | None,
    *,
    expires_at: int = 0,
) -> None:
    """Begin a subscription that the server makes.

    Args:
        extra: what the connection token's ``subs`` or the server API says of it.
        request: where the client's last one stood, if it is coming back.
        joined: called with the result; None: the client is told by a push.

    Raises:
        NamespaceUnknown: error 102.
    """
    options = session.rules.config.options_of(channel)
    subscription = Subscription(is_server_side=True, info=extra.info if extra is not None else None)
    override = extra.override if extra is not None else None
    subscription.agree(options, override, recoverable=False, positioned=False, joins=False)
    _set_expiry(session, subscription, expires_at)
    session.waiting[channel] = []
    session.server_joins[channel] = joined
    session.do(_join(0, channel, subscription, request, extra.data if extra is not None else None))


def subscribe_by_server(
    session: Session, channel: str, extra: SubsOptions, *, since: StreamPosition | None, expires_at: int, now: float
) -> None:
    """Subscribe a connected client by the server API; nothing happens if it is subscribed already.

    Raises:
        NamespaceUnknown: error 102.
    """
    session.now = now
    session.unwanted -= {channel}
    if channel in session.subscriptions or channel in session.waiting or session.is_closed:
        return
    request = SubscribeRequest()
    if since is not None:
        request = SubscribeRequest(recover=True, offset=since.offset, epoch=since.epoch)
    server_subscribe(session, channel, extra, request, None, expires_at=expires_at)


def _agree(
    session: Session,
    channel: str,
    subscription: Subscription,
    options: ChannelOptions,
    request: SubscribeRequest,
    override: Override | None,
) -> None:
    config, user = session.rules.config, session.user
    wants_position = request.recoverable or request.positioned
    may_read = wants_position and permissions.may_history(config, channel, user, is_subscribed=True).allowed
    may_see = request.join_leave and permissions.may_joins(config, channel, user).allowed
    subscription.agree(
        options,
        override,
        recoverable=request.recoverable and (options.allow_recovery or may_read),
        positioned=request.positioned and (options.allow_positioning or may_read),
        joins=may_see,
    )
    subscription.is_delta = (
        request.delta == FOSSIL and FOSSIL in options.allowed_delta_types and subscription.is_positioned
    )
    if request.tf is not None:
        if not options.allow_tags_filter:
            raise NotAvailable("this channel has no tags filter")
        if request.delta:
            raise RequestInvalid("a tags filter and delta do not go together")
        subscription.filter = filter_of(request.tf)


def _join(id: int, channel: str, subscription: Subscription, request: SubscribeRequest, data: JSON = None) -> Join:
    recovers = request.recover and subscription.is_recoverable
    return Join(id, channel, subscription, request.offset if recovers else None, request.epoch, data)


def _verified(session: Session, command: Command, token: str, channel: str) -> SubscriptionToken | None:
    """What a subscription token says; None: the command waits for the token's key.

    Raises:
        TokenExpired: error 109.
        PermissionRefused: error 103; it is not a token for this user and this channel.
        KeysUnavailable: error 100, temporary.
    """
    try:
        found = verified(session, command, session.rules.verifier.verify_subscription, token)
    except TokenExpired:
        raise
    except TokenInvalid as exc:
        raise PermissionRefused("the subscription token does not hold") from exc
    if found is not None and (found.user != session.user or found.channel != channel):
        raise PermissionRefused("the subscription token is for another user or channel")
    return found


def joined(session: Session, join: Join, result: SubscribeResult, now: float) -> None:
    """The connection is a member of the channel from now on.

    Args:
        result: position and publications, from the driver; what was agreed on is added here.
    """
    session.now = now
    subscription = join.subscription
    result.recoverable, result.positioned = subscription.is_recoverable, subscription.is_positioned
    result.delta = subscription.is_delta
    if join.data is not None:
        result.data = Raw(json_encode(join.data))
    if subscription.expires_at:
        result.expires, result.ttl = True, _ttl(session, subscription)
    session.subscriptions[join.channel] = subscription
    if subscription.is_server_side:
        _server_joined(session, join.channel, result)
    else:
        session.finish()
        session.answer(Reply(id=join.id, subscribe=result))
    if subscription.expires_at:
        session.set_due()
    if join.channel in session.unwanted:
        session.unwanted -= {join.channel}
        session.unsubscribe(join.channel, UnsubscribeCode.SERVER)
    session.resume(join.channel)


def _server_joined(session: Session, channel: str, result: SubscribeResult) -> None:
    tell = session.server_joins.pop(channel, None)
    if tell is not None:
        tell(channel, result)
        return
    push = Subscribe(
        recoverable=result.recoverable,
        epoch=result.epoch,
        offset=result.offset,
        positioned=result.positioned,
        data=result.data,
    )
    session.say(Reply(push=Push(channel=channel, subscribe=push)))
    if result.publications:
        session.do(Deliver(channel, result.publications))


def join_failed(session: Session, join: Join, exc: ClarionError, now: float) -> None:
    """The channel could not be joined: Redis is away."""
    session.now = now
    session.unwanted -= {join.channel}
    if join.subscription.is_server_side:
        tell = session.server_joins.pop(join.channel, None)
        if tell is not None:
            tell(join.channel, None)
    else:
        session.finish()
        session.fail(join.id, exc)
    session.resume(join.channel)


def unsubscribe(session: Session, command: Command, request: UnsubscribeRequest) -> None:
    """End a subscription; of a channel that the client is not subscribed to, too."""
    channel = channel_check(request.channel)
    subscription = session.subscriptions.pop(channel, None)
    if subscription is not None:
        session.do(Leave(channel, subscription))
    session.answer(Reply(id=command.id, unsubscribe=UnsubscribeResult()))


def sub_refresh(session: Session, command: Command, request: SubRefreshRequest) -> None:
    """Take a new token for a subscription.

    Raises:
        PermissionRefused: error 103; not subscribed, or not a token for that.
        TokenExpired: 109.
    """
    channel = channel_check(request.channel)
    subscription = session.subscriptions.get(channel)
    if subscription is None:
        raise PermissionRefused("not subscribed to this channel")
    token = _verified(session, command, request.token, channel)
    if token is None:
        return
    subscription.info = token.info
    subscription.expires_at = 0.0
    _set_expiry(session, subscription, token.expires_at)
    session.set_due()
    has_expiry = subscription.expires_at > 0
    result = SubRefreshResult(expires=has_expiry, ttl=_ttl(session, subscription) if has_expiry else 0)
    session.answer(Reply(id=command.id, sub_refresh=result))


def _set_expiry(session: Session, subscription: Subscription, expires_at: int) -> None:
    if expires_at:
        left_s = expires_at - session.rules.wall()
        subscription.expires_at = session.now + left_s + session.rules.config.client.expired_sub_close_delay


def _ttl(session: Session, subscription: Subscription) -> int:
    delay_s = session.rules.config.client.expired_sub_close_delay
    return max(1, round(subscription.expires_at - session.now - delay_s))
