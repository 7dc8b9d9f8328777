"""clarion.tokens: whatever comes as a token, the answer is a token, or that it is none."""

from __future__ import annotations

import base64
import json
import string
import time
from typing import Any

import jwt
from hypothesis import given, settings
from hypothesis import strategies as st

from clarion.errors import TokenExpired, TokenInvalid
from clarion.namespaces import ClarionConfig
from clarion.tokens import TokenVerifier, subscription_token_make, token_make

SECRET = "s" * 64
VERIFIER = TokenVerifier(ClarionConfig(), SECRET)
GOOD = [
    token_make(SECRET, "7", channels=("chat:x",), info={"name": "Ada"}, ttl_s=86_400)[0],
    subscription_token_make(SECRET, "7", "chat:x", ttl_s=86_400)[0],
]
BASE64URL = string.ascii_letters + string.digits + "-_"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
claim_names = st.sampled_from(
    ["sub", "exp", "nbf", "iat", "aud", "iss", "channels", "channel", "info", "subs", "meta", "data", "override", "x"]
)


def verify(token: str) -> Any:
    """What both verifications say: what they read, or None."""
    read: list[Any] = []
    for check in (VERIFIER.verify_connection, VERIFIER.verify_subscription):
        try:
            read.append(check(token))
        except (TokenInvalid, TokenExpired):
            read.append(None)
    return read


@settings(deadline=None)
@given(st.text(max_size=200) | st.text(BASE64URL + ".=+/", max_size=300))
def test_text_is_never_a_token(text: str) -> None:
    """Nothing but a refusal: no other exception, no acceptance."""
    assert verify(text) == [None, None]


@settings(deadline=None)
@given(st.sampled_from(GOOD), st.integers(min_value=0), st.sampled_from(BASE64URL + ".= \n"), st.booleans())
def test_a_token_that_was_changed_anywhere_is_refused(token: str, place: int, char: str, insert: bool) -> None:
    """Header, payload and signature: one character more or another one, also where base64 has spare bits."""
    place %= len(token)
    changed = token[:place] + char + token[place + (not insert) :]
    if changed != token:
        assert verify(changed) == [None, None]


@settings(deadline=None)
@given(st.dictionaries(claim_names, json_values, max_size=8), st.booleans())
def test_signed_claims_of_any_form_are_read_or_refused(claims: dict[str, Any], is_plausible: bool) -> None:
    """Whoever holds the key may still write nonsense."""
    if is_plausible:
        claims = {**claims, "sub": "7", "exp": time.time() + 600, "channel": "chat:x"}
    verify(jwt.PyJWS().encode(json.dumps(claims).encode(), SECRET))


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5c", "zip"]), json_values))
def test_a_header_of_any_form_is_read_or_refused(header: dict[str, Any]) -> None:
    """The header comes from the sender: with any but a good one the token is refused, also with a key in it."""
    text = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    _, _, rest = GOOD[0].partition(".")
    assert verify(f"{text}.{rest}")[0] is None


@settings(deadline=None)
@given(st.sampled_from(["HS256", "HS384", "HS512"]), st.sampled_from([SECRET, "o" * 64]), st.sampled_from([-100, 100]))
def test_the_verdict_is_pyjwts(algorithm: str, secret: str, ttl_s: int) -> None:
    """On signature and expiry we agree with the library alone, which is the reference."""
    token = jwt.encode({"sub": "7", "exp": int(time.time()) + ttl_s}, secret, algorithm)
    try:
        jwt.decode(token, SECRET, ["HS256", "HS384", "HS512"])
        accepted = True
    except jwt.PyJWTError:
        accepted = False
    assert (verify(token)[0] is not None) is accepted
