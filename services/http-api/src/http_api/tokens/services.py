"""Minting connection tokens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from clarion.tokens import TTL_S, token_make
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
    """
    token, expires_at = token_make(env.token_secret.get_secret_value(), user, ttl_s=ttl_s, channels=channels, info=info)
    return MintedToken(token, datetime.fromtimestamp(expires_at, UTC))
