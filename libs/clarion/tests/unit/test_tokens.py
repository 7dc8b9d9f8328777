"""clarion.tokens: connection tokens of one HMAC key; other keys: test_token_keys.py."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest

from clarion.errors import NameInvalid, TokenExpired, TokenInvalid
from clarion.tokens import TTL_S, Override, token_make, token_verify
from clarion.tokens.claims import Flag

SECRET = "dev-" + "s" * 40
OTHER = "dev-" + "o" * 40


def signed(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode({"sub": "7", "exp": int(time.time()) + 60, **claims}, secret, algorithm)


def signed_json(**claims: Any) -> str:
    """Signed below jwt.encode, which has checks of its own."""
    payload = {"sub": "7", "exp": int(time.time()) + 60, **claims}
    return jwt.PyJWS().encode(json.dumps(payload).encode(), SECRET)


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


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_token_verify_takes_every_hmac_algorithm(algorithm: str) -> None:
    """The secret is one for all three, and still only the holder's."""
    assert token_verify(SECRET + "x" * 64, signed(SECRET + "x" * 64, algorithm)).user == "7"
    with pytest.raises(TokenInvalid):
        token_verify(OTHER, signed(SECRET + "x" * 64, algorithm))


def test_a_short_secret_signs_and_verifies_without_a_warning() -> None:
    """Production refuses it at start; where it is allowed, a log line at every connect would help nobody."""
    assert token_verify("short", token_make("short", "7")[0]).user == "7"


def test_token_verify_tells_expired_from_invalid() -> None:
    """A client fetches a new token on the first, and gives up on the second."""
    for exp in (int(time.time()) - 60, int(time.time()), time.time() - 0.001, 0, -1, -1e300):
        with pytest.raises(TokenExpired):
            token_verify(SECRET, signed_json(exp=exp))


def test_a_token_that_is_not_valid_yet_is_fetched_anew() -> None:
    """nbf beyond the leeway is answered like an expired token: a client must not give up for ever on a slow clock."""
    assert token_verify(SECRET, signed(nbf=int(time.time()) + 2)).user == "7"
    with pytest.raises(TokenExpired, match="not valid yet"):
        token_verify(SECRET, signed(nbf=int(time.time()) + 60))


WRONG_CLAIMS: list[dict[str, Any]] = [
    {"sub": 7}, {"sub": None}, {"sub": "a,b"}, {"channels": "chat:x"}, {"channels": ["a b"]}, {"channels": [1]},
    {"exp": "x"}, {"exp": True}, {"exp": 1e300}, {"exp": [1]}, {"nbf": "1"},
    {"iat": {}}, {"aud": 1}, {"iss": 1}, {"info": 2**70},
    {"meta": 2**70}, {"subs": ["chat:x"]}, {"subs": {"a b": {}}}, {"subs": {"chat:x": 1}}, {"subs": {"#": {}}},
    {"subs": {"chat:x": {"info": -(2**64)}}}, {"subs": {"chat:x": {"data": 2**64}}},
    {"subs": {"chat:x": {"override": {"presence": True}}}},
    {"subs": {"chat:x": {"override": {"presence": {"value": 1}}}}},
]  # fmt: skip


@pytest.mark.parametrize("claims", WRONG_CLAIMS)
def test_token_verify_refuses_claims_of_a_wrong_form(claims: dict[str, Any]) -> None:
    """A signed token with bad names or values is refused, not half read."""
    with pytest.raises(TokenInvalid):
        token_verify(SECRET, signed_json(**claims))


@pytest.mark.parametrize("payload", [b"", b"[]", b'"x"', b"{", b'{"sub": "\xff", "exp": 1}', b"[" * 5000, b"null"])
def test_token_verify_refuses_a_payload_that_is_no_object(payload: bytes) -> None:
    """A good signature does not make it a token."""
    with pytest.raises(TokenInvalid):
        token_verify(SECRET, jwt.PyJWS().encode(payload, SECRET))


def test_token_verify_requires_a_subject() -> None:
    """A token without a user is refused: anonymous is "", and said."""
    with pytest.raises(TokenInvalid):
        token_verify(SECRET, jwt.encode({"exp": int(time.time()) + 60}, SECRET))


def test_a_token_without_an_end_is_not_for_urls() -> None:
    """exp may be left out, but not where histories and logs keep the token."""
    token = jwt.encode({"sub": "7"}, SECRET)
    assert token_verify(SECRET, token).expires_at == 0
    with pytest.raises(TokenInvalid, match="in a URL"):
        token_verify(SECRET, token, in_url=True)


def test_token_verify_reads_subs_and_meta() -> None:
    """Server-side subscriptions with options of their own; what a token grants is both lists."""
    subs = {"chat:y": {"info": {"a": 1}, "data": [1], "override": {"presence": {"value": True}, "join_leave": {}}}}
    read = token_verify(SECRET, signed(channels=["chat:x"], subs=subs, meta={"role": "admin"}, unknown=1))
    assert read.granted == ("chat:x", "chat:y")
    assert read.meta == {"role": "admin"}
    options = read.subs["chat:y"]
    assert (options.info, options.data) == ({"a": 1}, [1])
    assert options.override == Override(presence=Flag(True), join_leave=Flag(False))


@pytest.mark.parametrize(
    "token", ["", "x", "a.b.c", "é", "a" * 10_000, "\ud800", "." * 70_000, "e30.e30.", "e30", "a" * 3_000 + ".e30.x"]
)
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
