"""Minting tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from clarion.errors import PermissionRefused
from clarion.names import channel_check, personal_user
from clarion.tokens import TTL_S, TokenSigner
from clarion.values import JSON
from http_api.env import env


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A signed token and when it ends."""

    token: str
    expires_at: datetime


def token_mint(user: str, *, ttl_s: int = TTL_S, channels: tuple[str, ...] = (), info: JSON = None) -> MintedToken:
    """Sign a connection token for a user id; "" is an anonymous client.

    Raises:
        NameInvalid: HTTP 400.
        NotAvailable: HTTP 404; this deployment's tokens are signed elsewhere.
    """
    return _minted(_signer().connection(user, ttl_s=ttl_s, channels=channels, info=info))


def subscription_token_mint(user: str, channel: str, *, ttl_s: int = TTL_S, info: JSON = None) -> MintedToken:
    """Sign a token with which one user, and nobody else, may subscribe to one channel.

    Raises:
        NameInvalid: HTTP 400; also of a name that the channel's namespace does not allow.
        NamespaceUnknown: HTTP 404.
        PermissionRefused: HTTP 403; the personal channel of another user.
        NotAvailable: HTTP 404; this deployment's tokens are signed elsewhere.
    """
    if personal_user(channel) not in (None, user):
        raise PermissionRefused("a personal channel is its user's alone, whatever a token says")
    env.clarion_config.options_of(channel_check(channel)).name_check(channel)
    return _minted(_signer().subscription(user, channel, ttl_s=ttl_s, info=info))


def _signer() -> TokenSigner:
    return TokenSigner(env.clarion_config, env.hmac_secret)


def _minted(signed: tuple[str, int]) -> MintedToken:
    token, expires_at = signed
    return MintedToken(token, datetime.fromtimestamp(expires_at, UTC))
