"""Signing tokens with the HMAC key that the services share.

Source: docs/protocol.md, "Tokens".
"""

from __future__ import annotations

import time
from typing import Any, Final

from clarion.errors import NotAvailable
from clarion.names import channel_check, user_id_check
from clarion.namespaces import ClarionConfig, TokenTable
from clarion.tokens.algorithms import jws
from clarion.tokens.claims import TTL_S
from clarion.values import JSON, json_encode

ALGORITHM: Final = "HS256"


def token_make(
    secret: str,
    user: str,
    *,
    ttl_s: int = TTL_S,
    channels: tuple[str, ...] = (),
    info: JSON = None,
    audience: str = "",
    issuer: str = "",
) -> tuple[str, int]:
    """Sign a connection token. Returns it and its expiry in seconds since the epoch.

    Raises:
        NameInvalid: HTTP 400; the user id or a channel's name breaks a rule.
    """
    claims: dict[str, Any] = {}
    if channels:
        claims["channels"] = [channel_check(channel) for channel in channels]
    return _sign(secret, user, claims, ttl_s=ttl_s, info=info, audience=audience, issuer=issuer)


def subscription_token_make(
    secret: str,
    user: str,
    channel: str,
    *,
    ttl_s: int = TTL_S,
    info: JSON = None,
    audience: str = "",
    issuer: str = "",
) -> tuple[str, int]:
    """Sign a subscription token: it lets this user, and nobody else, subscribe to this channel. Returns it and its
    expiry in seconds since the epoch.

    Raises:
        NameInvalid: HTTP 400; the user id or the channel's name breaks a rule.
    """
    claims = {"channel": channel_check(channel)}
    return _sign(secret, user, claims, ttl_s=ttl_s, info=info, audience=audience, issuer=issuer)


def _sign(
    secret: str, user: str, claims: dict[str, Any], *, ttl_s: int, info: JSON, audience: str, issuer: str
) -> tuple[str, int]:
    if user:
        user_id_check(user)
    now = int(time.time())
    claims = {"sub": user, **claims, "iat": now, "exp": now + ttl_s}
    claims |= {name: value for name, value in (("aud", audience), ("iss", issuer)) if value}
    if info is not None:
        claims["info"] = info
    return jws.encode(json_encode(claims), secret, ALGORITHM, headers={"typ": "JWT"}), now + ttl_s


class TokenSigner:
    """Signs tokens that a gateway of the same configuration accepts: with its HMAC keys, audience and issuer.

    Args:
        config: the configuration that the gateways read.
        hmac_secret: the HMAC key of connection tokens (:attr:`clarion.env.ServiceEnv.hmac_secret`); "": none.
    """

    def __init__(self, config: ClarionConfig, hmac_secret: str) -> None:
        own = config.client.subscription_token
        self._connection = _signing(config.client.token, hmac_secret)
        if own is not None and own.enabled:
            self._subscription = _signing(own, own.hmac_secret_key.get_secret_value())
        else:
            self._subscription = self._connection

    def connection(
        self, user: str, *, ttl_s: int = TTL_S, channels: tuple[str, ...] = (), info: JSON = None
    ) -> tuple[str, int]:
        """Sign a connection token, as :func:`token_make`.

        Raises:
            NameInvalid: HTTP 400.
            NotAvailable: HTTP 404; this deployment's tokens are signed elsewhere.
        """
        return token_make(**_key(self._connection), user=user, ttl_s=ttl_s, channels=channels, info=info)

    def subscription(self, user: str, channel: str, *, ttl_s: int = TTL_S, info: JSON = None) -> tuple[str, int]:
        """Sign a subscription token, as :func:`subscription_token_make`.

        Raises:
            NameInvalid: HTTP 400.
            NotAvailable: HTTP 404; this deployment's tokens are signed elsewhere.
        """
        return subscription_token_make(**_key(self._subscription), user=user, channel=channel, ttl_s=ttl_s, info=info)


def _signing(table: TokenTable, secret: str) -> dict[str, Any]:
    return {"secret": secret, "audience": table.audience, "issuer": table.issuer}


def _key(signing: dict[str, Any]) -> dict[str, Any]:
    if not signing["secret"]:
        raise NotAvailable("tokens of this deployment are signed elsewhere: it has no HMAC key")
    return signing
