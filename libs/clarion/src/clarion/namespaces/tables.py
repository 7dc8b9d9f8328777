"""The tables of ``clarion.toml`` beside the channels' options: ``[client]``, ``[channel]``, ``[limits]``.

Source: docs/protocol.md, "Namespace options".
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import Field, SecretStr, field_validator

from clarion.durations import Duration
from clarion.namespaces.options import (
    HISTORY_META_TTL,
    ChannelOptions,
    Namespace,
    PersonalOptions,
    Table,
    whole_seconds,
)
from clarion.values import PUBLICATION_MAX_BYTES

RSA_MIN_BITS: Final = 2048
"""RFC 7518 section 3.3: a key of RS256 has at least so many."""


class TokenTable(Table):
    """``[client.token]``: the keys that sign tokens, and what a token must say of itself.

    A token is checked with the key of its own kind: HS256/384/512 with the HMAC keys, RS256/384/512 and ES256/384/512
    with a key of the JWKS endpoint when there is one and the token names a key of it, else with the key given here.
    """

    hmac_secret_key: SecretStr = SecretStr("")
    """HMAC key; ``CLARION_TOKEN_SECRET`` comes before it."""
    hmac_previous_secret_key: SecretStr = SecretStr("")
    """The HMAC key before the last rotation: its tokens are still accepted. Clarion's own option."""
    rsa_public_key: str = ""
    """RSA public key, as PEM."""
    ecdsa_public_key: str = ""
    """ECDSA public key, as PEM; its curve decides which of ES256, ES384 and ES512 it verifies."""
    jwks_public_endpoint: str = ""
    """URL of a JSON Web Key Set (RFC 7517), fetched when a token names a key that is not known."""
    audience: str = ""
    """A token's ``aud`` must hold it. Left out: a token that has an ``aud`` is refused."""
    issuer: str = ""
    """A token's ``iss`` must be it. Left out: any."""

    @field_validator("hmac_secret_key", "hmac_previous_secret_key")
    @classmethod
    def _no_public_key(cls, secret: SecretStr) -> SecretStr:
        # Whoever has a published key could sign with it: the "algorithm confusion" of many JWT libraries.
        if "-----BEGIN" in secret.get_secret_value():
            raise ValueError("this is a PEM key: an HMAC key is a secret text")
        return secret

    @field_validator("rsa_public_key")
    @classmethod
    def _is_rsa(cls, pem: str) -> str:
        if pem:
            key = _public_key(pem)
            if not isinstance(key, rsa.RSAPublicKey):
                raise ValueError("not an RSA public key")
            if key.key_size < RSA_MIN_BITS:
                raise ValueError(f"an RSA key has at least {RSA_MIN_BITS} bits, not {key.key_size}")
        return pem

    @field_validator("ecdsa_public_key")
    @classmethod
    def _is_ecdsa(cls, pem: str) -> str:
        if pem:
            key = _public_key(pem)
            if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in ECDSA_CURVES:
                raise ValueError("not an ECDSA public key on P-256, P-384 or P-521")
        return pem

    @field_validator("jwks_public_endpoint")
    @classmethod
    def _is_url(cls, url: str) -> str:
        if url:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("not an http or https URL")
            if parts.username or parts.password:
                raise ValueError("a URL with a password would be logged: leave it out")
        return url

    @property
    def has_keys(self) -> bool:
        """Whether any key is configured here."""
        return bool(
            self.hmac_secret_key.get_secret_value()
            or self.rsa_public_key
            or self.ecdsa_public_key
            or self.jwks_public_endpoint
        )


ECDSA_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
"""The algorithm of each curve (RFC 7518 section 3.4)."""


def _public_key(pem: str) -> object:
    try:
        return load_pem_public_key(pem.encode())
    except (ValueError, TypeError) as exc:
        raise ValueError("not a public key as PEM") from exc
    except Exception as exc:  # cryptography's UnsupportedAlgorithm is neither
        raise ValueError("not a public key of a kind that is known here") from exc


class SubscriptionTokenTable(TokenTable):
    """``[client.subscription_token]``: keys of subscription tokens, where they differ from those of connections."""

    enabled: bool = True
    """Whether this table counts. In Centrifugo it is off unless set; here a table that stands there is meant."""


class PersonalSubscription(Table):
    """``[client.subscribe_to_user_personal_channel]``."""

    enabled: bool = False
    """Every connection with a user id is subscribed to its personal channel ``#<user id>`` by the server."""


class ClientTable(Table):
    """``[client]``: connections of the client protocol. A delay is how long the server waits, as a duration."""

    insecure: bool = False
    """Anyone connects without a token and may do anything. Refused in production."""
    allowed_origins: list[str] = []
    """Exact origins (``https://app.example``) beside ``CLARION_PUBLIC_URL``; no patterns."""
    allow_anonymous_connect_without_token: bool = False
    """A client without a token connects, with the user id "", if it is a page of an allowed origin."""

    token: TokenTable = TokenTable()
    subscription_token: SubscriptionTokenTable | None = None
    """Left out: subscription tokens are signed with the keys of connection tokens."""
    subscribe_to_user_personal_channel: PersonalSubscription = PersonalSubscription()

    history_max_publication_limit: int = Field(default=300, ge=0)
    """Most publications that one history call returns. 0: no limit."""
    recovery_max_publication_limit: int = Field(default=300, ge=0)
    """Most publications that a recovery brings; of more the client is told ``recovered: false``. 0: no limit."""
    channel_limit: int = Field(default=128, ge=1)
    """Most subscriptions of one connection: error 106, and 3505 when a token asks for more."""
    user_connection_limit: int = Field(default=0, ge=0)
    """Most connections of one user id on one gateway: 3504. 0: no limit."""

    ping_interval: Duration = Duration(25)
    """How often the server pings; at least 1s."""
    pong_timeout: Duration = Duration(8)
    """How long a client may take to answer a ping (3012); less than ``ping_interval``."""
    stale_close_delay: Duration = Duration(10)
    """How long a client may take to send its connect command (3502)."""
    expired_close_delay: Duration = Duration(25)
    """How long after its token's ``exp`` a connection may still be refreshed (3005)."""
    expired_sub_close_delay: Duration = Duration(25)
    """How long after its token's ``exp`` a subscription may still be refreshed (2501)."""

    @field_validator("allowed_origins")
    @classmethod
    def _exact(cls, origins: list[str]) -> list[str]:
        if problems := [f"{origin!r}: {problem}" for origin in origins if (problem := _origin_problem(origin))]:
            raise ValueError("; ".join(problems))
        return origins

    @field_validator("ping_interval")
    @classmethod
    def _a_second_or_more(cls, duration: Duration) -> Duration:
        if duration < 1:  # a client is told it in whole seconds, and hears nothing of 0
            raise ValueError("at least 1s")
        return duration

    @field_validator("pong_timeout", "stale_close_delay")
    @classmethod
    def _not_zero(cls, duration: Duration) -> Duration:
        if duration <= 0:
            raise ValueError("more than 0")
        return duration


def _origin_problem(origin: str) -> str:
    """Why no browser sends this as its Origin (RFC 6454 section 6.2); "" if one may."""
    if "*" in origin:
        return "a pattern matches no origin: list each origin in full, such as https://app.example"
    scheme, _, host = origin.lower().partition("://")
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) or not re.fullmatch(r"[^/?#@\s]+", host) or not origin.isascii():
        return "not an origin: scheme, host and perhaps a port, such as https://app.example"
    if (scheme, host.rpartition(":")[2]) in (("http", "80"), ("https", "443")):
        return "a browser leaves out the scheme's own port: so must this"
    return ""


class ChannelTable(Table):
    """``[channel]``."""

    without_namespace: ChannelOptions | None = None
    """Options of channels with no ``:``. Left out: such channels do not exist."""
    personal: PersonalOptions = PersonalOptions()
    """Options of personal channels, ``#<user id>``."""
    namespaces: list[Namespace] = []
    history_meta_ttl: Duration = HISTORY_META_TTL
    """``history_meta_ttl`` of every namespace that has none of its own; whole seconds."""

    @field_validator("history_meta_ttl")
    @classmethod
    def _whole_seconds(cls, duration: Duration) -> Duration:
        if duration <= 0:
            raise ValueError("more than 0")
        return whole_seconds(duration)


class LimitsTable(Table):
    """``[limits]``: Clarion's own table."""

    publication_bytes: int = Field(default=PUBLICATION_MAX_BYTES, ge=1, le=1_048_576)
    """Most bytes of one publication's data as compact JSON: error 107."""
    room_frame_bytes: int = Field(default=65_536, ge=1, le=16_777_216)
    """Most bytes of one message from a plain room's client; over it the socket closes with 1009."""
    connection_frame_bytes: int = Field(default=1_048_576, ge=1_024, le=16_777_216)
    """Most bytes of one frame or request on ``/connection/*`` and ``/emulation``; over it 1009, or HTTP 413."""
    commands_per_s: int = Field(default=1_000, ge=0)
    """Commands and pongs that one connection may send per second in the long run: error 111, then 3013. 0: no limit."""
    commands_burst: int = Field(default=4_000, ge=1)
    """Commands that one connection may send at once after a rest: an SDK subscribes to its channels in one frame."""
