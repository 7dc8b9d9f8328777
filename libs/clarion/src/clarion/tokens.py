"""Connection tokens: short JWTs that a client shows to a gateway, which checks them without a query.

Claims: ``sub`` (user id; "" is an anonymous client), ``exp``, ``iat``, ``channels`` (server-side subscriptions, and
in a plain room the channels that it grants), ``info`` (what others see of the connection).

Source: docs/protocol.md, "Tokens"; RFC 7519; ADR-0004.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

import jwt

from clarion.errors import DataInvalid, NameInvalid, TokenExpired, TokenInvalid
from clarion.names import channel_check, user_id_check
from clarion.values import JSON

ALGORITHM: Final = "HS256"
TTL_S: Final = 600
"""Lifetime of a token unless the caller says otherwise; also the most that a token in a URL may have left."""

_LEEWAY_S: Final = 5


@dataclass(frozen=True, slots=True)
class ConnectionToken:
    """What a verified token says.

    Attributes:
        user: the user id; "" is an anonymous client.
        expires_at: seconds since the epoch.
        channels: channels that the token grants in a plain room.
        info: any JSON value, shown to others as ``conn_info``.
    """

    user: str
    expires_at: int
    channels: tuple[str, ...] = ()
    info: JSON = None


def token_make(
    secret: str, user: str, *, ttl_s: int = TTL_S, channels: tuple[str, ...] = (), info: JSON = None
) -> tuple[str, int]:
    """Sign a connection token. Returns it and its expiry in seconds since the epoch.

    Raises:
        NameInvalid: HTTP 400; the user id or a channel's name breaks a rule.
    """
    if user:
        user_id_check(user)
    now = int(time.time())
    claims: dict[str, Any] = {"sub": user, "iat": now, "exp": now + ttl_s}
    if channels:
        claims["channels"] = [channel_check(channel) for channel in channels]
    if info is not None:
        claims["info"] = info
    return jwt.encode(claims, secret, ALGORITHM), now + ttl_s


def token_verify(secret: str, token: str, *, in_url: bool = False) -> ConnectionToken:
    """Check a token's signature and expiry, and return what it says.

    Args:
        in_url: the token came in a URL, where it may have at most ``TTL_S`` left to live.

    Raises:
        TokenExpired: HTTP 401, protocol error 109, close code 4401.
        TokenInvalid: HTTP 401, protocol error 101, close code 4401.
    """
    try:
        claims = jwt.decode(token, secret, [ALGORITHM], options={"require": ["sub", "exp"]}, leeway=_LEEWAY_S)
    except jwt.ExpiredSignatureError as exc:
        raise TokenExpired from exc
    except (jwt.PyJWTError, ValueError) as exc:
        raise TokenInvalid from exc
    parsed = _parse(claims)
    if in_url and parsed.expires_at - time.time() > TTL_S + _LEEWAY_S:
        raise TokenInvalid(f"a token in a URL lives at most {TTL_S} seconds: send it as a subprotocol instead")
    return parsed


def _parse(claims: dict[str, Any]) -> ConnectionToken:
    user, channels = claims["sub"], claims.get("channels") or []
    if not isinstance(user, str) or not isinstance(channels, list):
        raise TokenInvalid("a claim of the token has the wrong type")
    try:
        if user:
            user_id_check(user)
        names = tuple(channel_check(channel) for channel in channels)
    except (NameInvalid, DataInvalid) as exc:
        raise TokenInvalid(f"a name in the token: {exc.detail}") from exc
    return ConnectionToken(user=user, expires_at=int(claims["exp"]), channels=names, info=claims.get("info"))
