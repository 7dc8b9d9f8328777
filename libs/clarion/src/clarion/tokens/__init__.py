"""Tokens: short JWTs that a client shows to a gateway, which checks them without a query.

A connection token says who is connecting, a subscription token lets one user subscribe to one channel.

Source: docs/protocol.md, "Tokens"; RFC 7519; ADR-0004.
"""

from __future__ import annotations

from clarion.tokens.claims import TTL_S, ConnectionToken, Override, SubscriptionToken, SubsOptions
from clarion.tokens.make import TokenSigner, subscription_token_make, token_make
from clarion.tokens.verify import KeyNotHere, TokenVerifier, token_verify

__all__ = [
    "TTL_S",
    "ConnectionToken",
    "KeyNotHere",
    "Override",
    "SubsOptions",
    "SubscriptionToken",
    "TokenSigner",
    "TokenVerifier",
    "subscription_token_make",
    "token_make",
    "token_verify",
]
