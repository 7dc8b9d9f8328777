"""What a token says: the claims of connection and of subscription tokens, and what is wrong with them.

Source: docs/protocol.md, "Tokens"; RFC 7519.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from clarion.errors import DataInvalid, NameInvalid, TokenExpired, TokenInvalid
from clarion.names import channel_check, user_id_check
from clarion.values import JSON, value_check

TTL_S: Final = 600
"""Lifetime of a token unless the caller says otherwise; also the most that a token in a URL may have left."""

LEEWAY_S: Final = 5
"""How far the clock of who signs may be ahead of ours. None the other way: at its ``exp`` a token has expired."""

EXPIRES_MAX: Final = 2**53
"""The last second that every JSON parser reads exactly."""

_Number = int | float


class Flag(msgspec.Struct, frozen=True):
    """A boolean that a token sets: ``{"value": true}``."""

    value: bool = False


class Override(msgspec.Struct, frozen=True):
    """Options of the namespace that hold otherwise for one subscription; None: as the namespace says."""

    presence: Flag | None = None
    join_leave: Flag | None = None
    force_push_join_leave: Flag | None = None
    force_recovery: Flag | None = None
    force_positioning: Flag | None = None


class SubsOptions(msgspec.Struct, frozen=True):
    """One entry of a connection token's ``subs``.

    Attributes:
        info: any JSON value, shown to others as ``chan_info``.
        data: any JSON value, for the client: in the subscription's result.
        override: options that hold otherwise for this subscription.
    """

    info: JSON = None
    data: JSON = None
    override: Override | None = None


class ConnectionToken(msgspec.Struct, frozen=True):
    """What a verified connection token says.

    Attributes:
        user: the user id; "" is an anonymous client.
        expires_at: seconds since the epoch; 0: never.
        channels: server-side subscriptions; a plain room lets them in.
        info: any JSON value, shown to others as ``conn_info``.
        subs: server-side subscriptions with options of their own.
        meta: any JSON value, for the application; never sent to a client.
    """

    user: str
    expires_at: int = 0
    channels: tuple[str, ...] = ()
    info: JSON = None
    subs: Mapping[str, SubsOptions] = {}
    meta: JSON = None

    @property
    def granted(self) -> tuple[str, ...]:
        """Every channel that the token lets its user subscribe to."""
        return (*self.channels, *self.subs) if self.subs else self.channels


class SubscriptionToken(msgspec.Struct, frozen=True):
    """What a verified subscription token says.

    Attributes:
        user: the user id whose connection may use it; "" is an anonymous client.
        channel: the channel that it grants.
        expires_at: seconds since the epoch; 0: never.
        info: any JSON value, shown to others as ``chan_info``.
        data: any JSON value, for the client: in the subscription's result.
        override: options that hold otherwise for this subscription.
    """

    user: str
    channel: str
    expires_at: int = 0
    info: JSON = None
    data: JSON = None
    override: Override | None = None


class RegisteredClaims(msgspec.Struct):
    """The claims of RFC 7519 section 4.1 that are looked at."""

    sub: str
    exp: _Number | None = None
    nbf: _Number | None = None
    iat: _Number | None = None
    iss: str | None = None
    aud: str | list[str] | None = None


class ConnectionClaims(RegisteredClaims):
    """A connection token's payload."""

    channels: list[str] | None = None
    info: JSON = None
    subs: dict[str, SubsOptions] | None = None
    meta: JSON = None


class SubscriptionClaims(RegisteredClaims):
    """A subscription token's payload."""

    channel: str = ""
    info: JSON = None
    data: JSON = None
    override: Override | None = None


Claims = TypeVar("Claims", bound=RegisteredClaims)


def claims_read(decoder: msgspec.json.Decoder[Claims], payload: bytes, *, audience: str, issuer: str) -> Claims:
    """Parse a verified payload, and check when, for whom and by whom it was made.

    Raises:
        TokenExpired: HTTP 401, protocol error 109; or it is not valid yet.
        TokenInvalid: HTTP 401, protocol error 101; a claim is missing, of a wrong type, or not for this service.
    """
    try:
        claims = decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise TokenInvalid("a claim of the token is missing or has the wrong type") from exc
    now = time.time()
    if claims.exp is not None and claims.exp <= now:
        raise TokenExpired
    if claims.exp is not None and claims.exp > EXPIRES_MAX:
        raise TokenInvalid("the token's exp is too far away")
    if claims.nbf is not None and claims.nbf > now + LEEWAY_S:
        raise TokenExpired("the token is not valid yet: fetch a new one")
    if not _is_for(audience, claims.aud):
        raise TokenInvalid("the token is meant for another service")
    if issuer and claims.iss != issuer:
        raise TokenInvalid("the token was made by another issuer")
    return claims


def _is_for(audience: str, named: str | list[str] | None) -> bool:
    """RFC 7519 section 4.1.3: a token that names audiences is for them alone, whether or not we have a name."""
    if named is None:
        return not audience
    return audience == named if isinstance(named, str) else audience in named


def connection_token(claims: ConnectionClaims) -> ConnectionToken:
    """What the checked claims of a connection token say.

    Raises:
        TokenInvalid: HTTP 401, protocol error 101; a name breaks a rule, or a value cannot travel.
    """
    subs = claims.subs or {}
    for channel, options in subs.items():
        _name(channel_check, channel)
        _values(options.info, options.data)
    _values(claims.info, claims.meta)
    return ConnectionToken(
        user=_user(claims.sub),
        expires_at=int(claims.exp or 0),
        channels=tuple(_name(channel_check, channel) for channel in claims.channels or ()),
        info=claims.info,
        subs=subs,
        meta=claims.meta,
    )


def subscription_token(claims: SubscriptionClaims) -> SubscriptionToken:
    """What the checked claims of a subscription token say.

    Raises:
        TokenInvalid: HTTP 401, protocol error 101; a name breaks a rule, or a value cannot travel.
    """
    _values(claims.info, claims.data)
    return SubscriptionToken(
        user=_user(claims.sub),
        channel=_name(channel_check, claims.channel),
        expires_at=int(claims.exp or 0),
        info=claims.info,
        data=claims.data,
        override=claims.override,
    )


def _user(user: str) -> str:
    return _name(user_id_check, user) if user else ""


def _name(rule: Any, name: str) -> str:
    try:
        return str(rule(name))
    except NameInvalid as exc:
        raise TokenInvalid(f"a name in the token: {exc.detail}") from exc


def _values(*values: JSON) -> None:
    for value in values:
        if value is not None:
            try:
                value_check(value)
            except DataInvalid as exc:
                raise TokenInvalid(f"a value in the token: {exc.detail}") from exc
