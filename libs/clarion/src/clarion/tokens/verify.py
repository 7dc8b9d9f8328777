"""Verifying tokens: the signature by PyJWT, with the one key that the token's algorithm may be checked with.

The header's ``alg`` only selects among keys of its own family: HMAC keys are for HS*, an RSA key for RS*, an EC key for
the ES* of its curve. So neither ``none`` nor a public key taken for an HMAC secret gets through.

An HS256 token of 143 characters takes 14 µs, one of 172 with ``info`` 20 to 25 µs (Python 3.11, one core); nearly all
of it is PyJWT's reading of base64url. A parser of our own took 4 µs; it is not worth having one in a place like this.

Source: docs/protocol.md, "Tokens"; RFC 7515, 7518, 7519; RFC 8725.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWTError

from clarion.errors import TokenInvalid
from clarion.namespaces import ClarionConfig, TokenTable
from clarion.tokens.algorithms import ECDSA, HMAC, RSA, jws
from clarion.tokens.claims import (
    LEEWAY_S,
    TTL_S,
    ConnectionClaims,
    ConnectionToken,
    RegisteredClaims,
    SubscriptionClaims,
    SubscriptionToken,
    claims_read,
    connection_token,
    subscription_token,
)
from clarion.tokens.jwks import KID_MAX_CHARS, KeySet, PublicKey

TOKEN_MAX_CHARS: Final = 65_536
"""Longer ones are not looked at: a hundred channels fit in."""

_HEADER_MAX_CHARS: Final = 2_048
_connection_decoder: Final = msgspec.json.Decoder(ConnectionClaims)
_subscription_decoder: Final = msgspec.json.Decoder(SubscriptionClaims)

Claims = TypeVar("Claims", bound=RegisteredClaims)


class KeyNotHere(Exception):
    """The token names a key that must be fetched first: ``await verifier.fetch_keys(exc)``, then verify again, once."""

    def __init__(self, keys: KeySet, kid: str, alg: str) -> None:
        self.keys = keys
        self.kid = kid
        self.alg = alg
        super().__init__("a key must be fetched first")


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None


_header_decoder: Final = msgspec.json.Decoder(_Header)


@lru_cache(maxsize=256)
def _header(segment: str) -> _Header:
    """A token's header. Cached by its text: an issuer writes the same one into all of its tokens."""
    try:
        header = _header_decoder.decode(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (binascii.Error, msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise TokenInvalid from exc
    if header.kid and len(header.kid) > KID_MAX_CHARS:
        raise TokenInvalid
    return header


class _Candidate(NamedTuple):
    key: bytes | PublicKey
    alg: str


class _Keys:
    """The keys of one token table, and what its tokens must say of themselves."""

    def __init__(self, table: TokenTable, *hmac_secrets: str) -> None:
        secrets = (*hmac_secrets, table.hmac_previous_secret_key.get_secret_value())
        self._hmac = tuple(secret.encode() for secret in secrets if secret)
        self._rsa = _load(table.rsa_public_key)
        self._ecdsa = _load(table.ecdsa_public_key)
        self.jwks = KeySet(table.jwks_public_endpoint) if table.jwks_public_endpoint else None
        self.audience = table.audience
        self.issuer = table.issuer

    def claims(self, token: str, decoder: msgspec.json.Decoder[Claims]) -> Claims:
        """The verified claims.

        Raises:
            TokenInvalid, TokenExpired, KeyNotHere.
        """
        return claims_read(decoder, self._payload(token), audience=self.audience, issuer=self.issuer)

    def _payload(self, token: str) -> bytes:
        segment = token.partition(".")[0]
        if len(token) > TOKEN_MAX_CHARS or len(segment) > _HEADER_MAX_CHARS:
            raise TokenInvalid
        header = _header(segment)
        refusal: Exception | None = None
        for key, alg in self._candidates(header):
            try:
                payload: bytes = jws.decode(token, key, [alg])
            except (PyJWTError, ValueError, TypeError) as exc:
                refusal = exc
            else:
                return payload
        is_public = header.alg in RSA or header.alg in ECDSA
        if self.jwks is not None and is_public and self.jwks.find(header.kid or "", header.alg) is None:
            raise KeyNotHere(self.jwks, header.kid or "", header.alg)
        raise TokenInvalid from refusal

    def _candidates(self, header: _Header) -> Iterator[_Candidate]:
        """The keys that this header's algorithm may be checked with; mostly one."""
        alg = header.alg
        if alg in HMAC:
            for secret in self._hmac:
                yield _Candidate(secret, alg)
            return
        if alg not in RSA and alg not in ECDSA:
            return
        if self.jwks is not None and (key := self.jwks.find(header.kid or "", alg)):
            if self.jwks.is_due:
                raise KeyNotHere(self.jwks, header.kid or "", alg)
            yield _Candidate(key.public, alg)
        own = self._rsa if alg in RSA else self._ecdsa
        if own is not None:
            yield _Candidate(own, alg)


def _load(pem: str) -> PublicKey | None:
    if not pem:
        return None
    key = load_pem_public_key(pem.encode())
    assert isinstance(key, (RSAPublicKey, EllipticCurvePublicKey))  # TokenTable has checked its kind
    return key


class TokenVerifier:
    """Verifies the tokens of one configuration. Sync, but for the keys of a JWKS endpoint.

    Args:
        config: ``client.token`` and ``client.subscription_token`` say with which keys.
        hmac_secret: HMAC key of connection tokens (:attr:`clarion.env.ServiceEnv.hmac_secret`); "" is none.
        accepted: more of them (:attr:`clarion.env.ServiceEnv.hmac_secrets_accepted`), tried one after the other.
    """

    def __init__(self, config: ClarionConfig, hmac_secret: str, accepted: Sequence[str] = ()) -> None:
        self._connection = _Keys(config.client.token, hmac_secret, *accepted)
        own = config.client.subscription_token
        self._subscription = self._connection
        if own is not None and own.enabled:
            self._subscription = _Keys(own, own.hmac_secret_key.get_secret_value())

    def verify_connection(self, token: str, *, in_url: bool = False) -> ConnectionToken:
        """Check a connection token's signature and claims, and return what it says.

        Args:
            in_url: the token came in a URL, where it may have at most ``TTL_S`` left to live.

        Raises:
            TokenExpired: HTTP 401, protocol error 109, close code 4401.
            TokenInvalid: HTTP 401, protocol error 101, disconnect 3500, close code 4401.
            KeyNotHere: a key must be fetched first (:meth:`fetch_keys`).
        """
        parsed = connection_token(self._connection.claims(token, _connection_decoder))
        if in_url and not 0 < parsed.expires_at <= time.time() + TTL_S + LEEWAY_S:
            raise TokenInvalid(f"a token in a URL lives at most {TTL_S} seconds: send it as a subprotocol instead")
        return parsed

    def verify_subscription(self, token: str) -> SubscriptionToken:
        """Check a subscription token's signature and claims, and return what it says.

        Whether it is for this connection's user and for the channel that was asked for is the caller's to compare.

        Raises:
            TokenExpired, TokenInvalid, KeyNotHere: as :meth:`verify_connection`.
        """
        return subscription_token(self._subscription.claims(token, _subscription_decoder))

    async def fetch_keys(self, missing: KeyNotHere) -> None:
        """Fetch the keys of the endpoint that a token names; many callers share one fetch.

        Raises:
            TokenInvalid: the endpoint has no such key.
            KeysUnavailable: HTTP 503, protocol error 100; it did not answer, and no such key is known.
        """
        await missing.keys.fetch(missing.kid, missing.alg)

    async def connection(self, token: str, *, in_url: bool = False) -> ConnectionToken:
        """:meth:`verify_connection`, with its key fetched first where that is needed.

        Raises:
            TokenExpired, TokenInvalid: as there.
            KeysUnavailable: HTTP 503, protocol error 100.
        """
        try:
            return self.verify_connection(token, in_url=in_url)
        except KeyNotHere as exc:
            await self.fetch_keys(exc)
        try:
            return self.verify_connection(token, in_url=in_url)
        except KeyNotHere as exc:
            raise TokenInvalid from exc

    async def subscription(self, token: str) -> SubscriptionToken:
        """:meth:`verify_subscription`, with its key fetched first where that is needed.

        Raises:
            TokenExpired, TokenInvalid, KeysUnavailable: as :meth:`connection`.
        """
        try:
            return self.verify_subscription(token)
        except KeyNotHere as exc:
            await self.fetch_keys(exc)
        try:
            return self.verify_subscription(token)
        except KeyNotHere as exc:
            raise TokenInvalid from exc


@lru_cache(maxsize=16)
def _hmac_verifier(secret: str) -> TokenVerifier:
    return TokenVerifier(ClarionConfig(), secret)


def token_verify(secret: str, token: str, *, in_url: bool = False) -> ConnectionToken:
    """Check a connection token with one HMAC key and nothing else, as :meth:`TokenVerifier.verify_connection`.

    Raises:
        TokenExpired: HTTP 401, protocol error 109, close code 4401.
        TokenInvalid: HTTP 401, protocol error 101, close code 4401.
    """
    return _hmac_verifier(secret).verify_connection(token, in_url=in_url)
