"""clarion.tokens: connection tokens."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest

from clarion.errors import NameInvalid, TokenExpired, TokenInvalid
from clarion.tokens import TTL_S, token_make, token_verify

SECRET = "dev-" + "s" * 40
OTHER = "dev-" + "o" * 40


def signed(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode({"sub": "7", "exp": int(time.time()) + 60, **claims}, secret, algorithm)


def test_token_round_trip_keeps_every_claim() -> None:
    """What is signed is what is read."""
    token, expires_at = token_make(SECRET, "7", channels=("chat:x", "#7"), info={"name": "Ada"})
    read = token_verify(SECRET, token)
    assert (read.user, read.channels, read.info, read.expires_at) == (
        "7",
        ("chat:x", "#7"),
        {"name": "Ada"},
        expires_at,
    )
    assert abs(expires_at - time.time() - TTL_S) < 5


def test_token_verify_refuses_another_key() -> None:
    """A token signed by somebody else is invalid."""
    with pytest.raises(TokenInvalid):
        token_verify(OTHER, token_make(SECRET, "7")[0])


def test_token_verify_refuses_the_none_algorithm() -> None:
    """An unsigned token is invalid whatever its header says."""
    with pytest.raises(TokenInvalid):
        token_verify(SECRET, jwt.encode({"sub": "7", "exp": time.time() + 60}, None, "none"))


def test_token_verify_refuses_another_algorithm() -> None:
    """Only HS256 is accepted: the header does not choose."""
    with pytest.raises(TokenInvalid):
        token_verify(SECRET, jwt.encode({"sub": "7", "exp": time.time() + 60}, "x" * 64, "HS512"))


def test_token_verify_tells_expired_from_invalid() -> None:
    """A client fetches a new token on the first, and gives up on the second."""
    with pytest.raises(TokenExpired):
        token_verify(SECRET, signed(exp=int(time.time()) - 60))


WRONG_CLAIMS: list[dict[str, Any]] = [
    {"sub": 7}, {"sub": None}, {"sub": "a,b"}, {"channels": "chat:x"}, {"channels": ["a b"]}, {"channels": [1]},
    {"exp": "x"},
]  # fmt: skip


@pytest.mark.parametrize("claims", WRONG_CLAIMS)
def test_token_verify_refuses_claims_of_a_wrong_form(claims: dict[str, Any]) -> None:
    """A signed token with bad names is refused, not half read."""
    payload = json.dumps({"sub": "7", "exp": int(time.time()) + 60, **claims}).encode()
    with pytest.raises(TokenInvalid):  # signed below jwt.encode, which has checks of its own
        token_verify(SECRET, jwt.PyJWS().encode(payload, SECRET))


@pytest.mark.parametrize("missing", ["sub", "exp"])
def test_token_verify_requires_subject_and_expiry(missing: str) -> None:
    """A token without an end or a user is refused."""
    claims = {"sub": "7", "exp": int(time.time()) + 60}
    del claims[missing]
    with pytest.raises(TokenInvalid):
        token_verify(SECRET, jwt.encode(claims, SECRET))


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é", "a" * 10_000])
def test_token_verify_refuses_what_is_no_token(token: str) -> None:
    """Rubbish is an invalid token, never a crash."""
    with pytest.raises(TokenInvalid):
        token_verify(SECRET, token)


def test_a_token_in_a_url_lives_at_most_ten_minutes() -> None:
    """A long-lived token is refused in a URL, where logs and histories keep it, and accepted elsewhere."""
    token, _ = token_make(SECRET, "7", ttl_s=TTL_S + 60)
    assert token_verify(SECRET, token).user == "7"
    with pytest.raises(TokenInvalid, match="in a URL"):
        token_verify(SECRET, token, in_url=True)
    assert token_verify(SECRET, token_make(SECRET, "7")[0], in_url=True).user == "7"


def test_token_make_checks_names() -> None:
    """A token never holds a name that its reader would refuse."""
    with pytest.raises(NameInvalid):
        token_make(SECRET, "a,b")
    with pytest.raises(NameInvalid):
        token_make(SECRET, "7", channels=("a b",))


def test_an_anonymous_token_has_an_empty_user() -> None:
    """sub "" is an anonymous client."""
    assert token_verify(SECRET, token_make(SECRET, "")[0]).user == ""
