"""The keys of a JWKS endpoint: fetched when a token names one that is not known, kept, and exchanged as they rotate.

Looking up a key is a dict lookup. A fetch is one at a time and at most one a second, whatever tokens come, so that
nobody can make a gateway hammer the endpoint with made-up key ids; while the endpoint is away, the last keys serve on.

Source: RFC 7517; docs/protocol.md, "Keys".
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final

import structlog
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWTError
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from clarion.errors import KeysUnavailable, TokenInvalid
from clarion.namespaces import RSA_MIN_BITS

log = structlog.stdlib.get_logger("clarion.tokens")

PublicKey = RSAPublicKey | EllipticCurvePublicKey

FRESH_S: Final = 600.0
"""How long keys are used before they are fetched anew: a key that was taken out is refused after at most that."""
INTERVAL_S: Final = 1.0
"""Least time between two fetches."""
RETRY_S: Final = 30.0
"""After a failed fetch, how long the old keys serve without another try."""
DEADLINE_S: Final = 5.0
MAX_BYTES: Final = 262_144
MAX_KEYS: Final = 100
KID_MAX_CHARS: Final = 256


@dataclass(frozen=True, slots=True)
class Key:
    """A public key of the set.

    Attributes:
        alg: the one algorithm that it is for; "" leaves that to its type.
    """

    public: PublicKey
    alg: str = ""

    def serves(self, alg: str) -> bool:
        """Whether a token of this algorithm may be checked with it."""
        kind = RSAPublicKey if alg.startswith("RS") else EllipticCurvePublicKey
        return isinstance(self.public, kind) and self.alg in ("", alg)


class KeySet:
    """The public keys of one JWKS endpoint, for one event loop.

    Args:
        url: an http or https URL.
        fetch: gets the URL's body in a thread; another one in tests.
        clock: seconds of a monotonic clock.
    """

    def __init__(
        self, url: str, *, fetch: Callable[[str], bytes] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._fetch = fetch or http_get
        self._clock = clock
        self._keys: dict[str, Key] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    def find(self, kid: str, alg: str) -> Key | None:
        """The key of this id for this algorithm. Without an id: the only key of the set that could be meant."""
        if kid:
            key = self._keys.get(kid)
            return key if key is not None and key.serves(alg) else None
        keys = [key for key in self._keys.values() if key.serves(alg)]
        return keys[0] if len(keys) == 1 else None

    @property
    def is_due(self) -> bool:
        """Whether the keys are old, and no fetch has been tried lately."""
        now = self._clock()
        return now - self._fetched_at > FRESH_S and now - self._tried_at > RETRY_S

    async def fetch(self, kid: str, alg: str) -> None:
        """Fetch the keys; many callers share one fetch. Returns once the key that :meth:`find` would give is here.

        Raises:
            TokenInvalid: a set that was asked for after the call began has no such key.
            KeysUnavailable: HTTP 503; the endpoint did not answer, and no such key is known.
        """
        began = self._clock()
        while True:
            if self._fetching is None:
                self._fetching = asyncio.get_running_loop().create_task(self._run())
                self._fetching.add_done_callback(self._done)
            # Shielded: the fetch is everybody's, a caller that is cancelled must not end it.
            await asyncio.shield(self._fetching)
            if self.find(kid, alg) is not None:
                return
            if self._fetched_at < self._tried_at:
                raise KeysUnavailable
            if self._tried_at >= began:  # else it was under way already: the key may have been added since
                raise TokenInvalid("the token names a key that the key set does not have")

    def _done(self, _task: asyncio.Task[None]) -> None:
        self._fetching = None

    async def _run(self) -> None:
        if (wait := self._tried_at + INTERVAL_S - self._clock()) > 0:
            await asyncio.sleep(wait)
        self._tried_at = self._clock()
        try:
            async with asyncio.timeout(DEADLINE_S + 1):
                keys = keys_parse(await asyncio.to_thread(self._fetch, self._url))
        except (OSError, ValueError, TimeoutError, HTTPException) as exc:  # URLError is an OSError
            log.warning("jwks.unavailable", url=self._url, error=f"{type(exc).__name__}: {exc}", keys=len(self._keys))
            return
        if keys.keys() != self._keys.keys():
            log.info("jwks.fetched", url=self._url, keys=sorted(keys))
        self._keys = keys
        self._fetched_at = self._clock()


def keys_parse(body: bytes) -> dict[str, Key]:
    """Read a JSON Web Key Set: its RSA and EC keys for signatures, by id. A key of another kind is passed over.

    Raises:
        ValueError: not a key set.
    """
    try:
        document = json.loads(body)
    except RecursionError as exc:
        raise ValueError("not a JSON Web Key Set") from exc
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise ValueError(f"not a JSON Web Key Set of at most {MAX_KEYS} keys")
    keys: dict[str, Key] = {}
    for number, entry in enumerate(entries):
        if (key := _key(entry)) is not None:
            kid = entry.get("kid")
            keys[kid if isinstance(kid, str) and kid else f"\0{number}"] = key  # no token can name the latter
    return keys


def _key(entry: Any) -> Key | None:
    """One entry of a set as a key, or None: secret, encryption and unknown kinds, and broken ones."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        match entry.get("kty"):
            case "RSA":
                public: Any = RSAAlgorithm.from_jwk(entry)
            case "EC":
                public = ECAlgorithm.from_jwk(entry)
            case _:
                return None
    except (PyJWTError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as exc:
        log.warning("jwks.key_unusable", kid=str(entry.get("kid"))[:KID_MAX_CHARS], error=type(exc).__name__)
        return None
    is_usable = isinstance(public, EllipticCurvePublicKey) or (
        isinstance(public, RSAPublicKey) and public.key_size >= RSA_MIN_BITS
    )
    alg = entry.get("alg")
    return Key(public, alg if isinstance(alg, str) else "") if is_usable else None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: it could lead anywhere, to another scheme included."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


_opener: Final = urllib.request.build_opener(_NoRedirect)


def http_get(url: str) -> bytes:
    """Get a URL's body in this thread: within ``DEADLINE_S`` in all, at most ``MAX_BYTES``, without redirects.

    Raises:
        OSError: no answer in time, or a status other than 200.
        ValueError: the body is too large.
    """
    ends_at = time.monotonic() + DEADLINE_S
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310 - the scheme was checked at start
    with _opener.open(request, timeout=DEADLINE_S) as answer:
        if answer.status != 200:
            raise OSError(f"HTTP {answer.status}")
        body = b""
        while chunk := answer.read1(65_536):
            body += chunk
            if len(body) > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES:,} bytes")
            if time.monotonic() > ends_at:  # the socket's own timeout starts anew with every byte
                raise TimeoutError("the answer took too long")
    return body
