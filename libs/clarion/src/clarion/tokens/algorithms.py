"""The signature algorithms of tokens, by PyJWT: HMAC, RSA and ECDSA with SHA-2, and no others.

Source: RFC 7518 section 3.1.
"""

from __future__ import annotations

from typing import Any, Final

from jwt import PyJWS
from jwt.algorithms import HMACAlgorithm

HMAC: Final = ("HS256", "HS384", "HS512")
RSA: Final = ("RS256", "RS384", "RS512")
ECDSA: Final = ("ES256", "ES384", "ES512")


class _Hmac(HMACAlgorithm):
    """PyJWT's, without its look at the key at every token: a short one would be a warning each time, and is refused by
    production at start (clarion.env); a PEM key is refused there, too (``TokenTable``).
    """

    def prepare_key(self, key: str | bytes) -> bytes:
        """The key's bytes."""
        return key.encode() if isinstance(key, str) else key

    def check_key_length(self, _key: Any) -> str | None:
        """Any length."""
        return None


def _make() -> PyJWS:
    jws = PyJWS(algorithms=[*HMAC, *RSA, *ECDSA])
    for name, digest in zip(HMAC, (HMACAlgorithm.SHA256, HMACAlgorithm.SHA384, HMACAlgorithm.SHA512), strict=True):
        jws.unregister_algorithm(name)
        jws.register_algorithm(name, _Hmac(digest))
    return jws


jws: Final = _make()
"""Signs and verifies; the caller says with which algorithm."""
