"""ws_gateway.credentials and rooms: what a handshake says."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from clarion.errors import KeysUnavailable, TokenInvalid
from clarion.namespaces import config_parse
from clarion.tokens import TokenVerifier, jwks
from ws_gateway.access import Identity
from ws_gateway.credentials import header_of, identity_of, query_of, token_of
from ws_gateway.rooms import channel_of

SECRET = "dev-" + "t" * 40
VERIFIER = TokenVerifier(config_parse({}), SECRET)


def scope(query: bytes = b"", subprotocols: list[str] | None = None, **headers: bytes) -> dict[str, Any]:
    return {
        "query_string": query,
        "subprotocols": subprotocols or [],
        "headers": [(name.encode(), value) for name, value in headers.items()],
    }


@pytest.mark.parametrize(
    ("raw_path", "channel"),
    [
        (b"/ws/chat:lobby/", "chat:lobby"), (b"/ws/chat:lobby", "chat:lobby"), (b"/ws/%2342/", "#42"),
        (b"/ws/a%2Fb/", "a/b"), (b"/ws/a/b/", "a/b"), (b"/ws/%C3%A4/", "ä"), (b"/ws//", ""), (b"/ws/%ff/", "\ufffd"),
    ],
)  # fmt: skip
def test_channel_of_unquotes_the_raw_path(raw_path: bytes, channel: str) -> None:
    """What it names is checked later: an encoded slash is a bad character, not a shorter name."""
    assert channel_of({"raw_path": raw_path, "path": "unused"}) == channel


def test_token_of_prefers_the_subprotocol_pair() -> None:
    """clarion, <token>; else ?token=; the last of two counts."""
    assert token_of(scope(b"token=b", ["clarion", "a"])) == ("a", False)
    assert token_of(scope(b"x=1&token=a&token=b", ["clarion"])) == ("b", True)
    assert token_of(scope(b"token=")) == ("", True)
    assert token_of(scope(b"hello=1", ["other", "a"])) == (None, True)


def test_query_of_survives_rubbish() -> None:
    """Bytes that are no UTF-8, empty pairs, no value."""
    assert query_of(scope(b"&&a=%ff&b&c=1"))["c"] == "1"


def test_header_of_takes_the_last() -> None:
    """Absent is None."""
    twice = {"headers": [(b"origin", b"a"), (b"origin", b"b")]}
    assert header_of(twice, b"origin") == "b"
    assert header_of({"headers": []}, b"origin") is None


def signed(claims: dict[str, Any], key: str = SECRET) -> str:
    """A connection token of user 7."""
    return jwt.encode({"sub": "7", "exp": int(time.time()) + 60, **claims}, key, "HS256")


async def test_identity_of_reads_a_token_without_a_query() -> None:
    """User and grants come from the signed token alone: its ``channels`` and its ``subs``."""
    token = signed({"channels": ["chat:x"], "subs": {"chat:y": {"info": 1}}})
    identity = await identity_of(scope(subprotocols=["clarion", token]), VERIFIER, 1)
    assert (identity.user, identity.has_token, identity.grants) == ("7", True, ("chat:x", "chat:y"))


async def test_identity_of_refuses_a_bad_token_even_with_a_cookie() -> None:
    """Token before cookie: a bad one is not forgiven."""
    with pytest.raises(TokenInvalid):
        await identity_of(scope(b"token=bad", cookie=b"clarion_session=abc"), VERIFIER, 1)
    with pytest.raises(TokenInvalid):
        await identity_of(scope(b"token="), VERIFIER, 1)


async def test_identity_of_holds_to_the_keys_of_the_configuration() -> None:
    """The previous HMAC key, audience and issuer, as for the client protocol."""
    table = {"hmac_previous_secret_key": "p" * 40, "audience": "rooms", "issuer": "https://id.example"}
    verifier = TokenVerifier(config_parse({"client": {"token": table}}), SECRET)
    claims = {"aud": "rooms", "iss": "https://id.example"}
    for key in (SECRET, "p" * 40):
        identity = await identity_of(scope(subprotocols=["clarion", signed(claims, key)]), verifier, 1)
        assert identity.user == "7"
    for wrong in ({"aud": "rooms"}, {**claims, "aud": "other"}, {**claims, "iss": "x"}, {}):
        with pytest.raises(TokenInvalid):
            await identity_of(scope(subprotocols=["clarion", signed(wrong)]), verifier, 1)


class Endpoint:
    """A JWKS endpoint in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.answers = threading.Event()
        self.answers.set()
        monkeypatch.setattr(jwks, "http_get", self._get)
        monkeypatch.setattr(jwks, "INTERVAL_S", 0.0)
        config = config_parse({"client": {"token": {"jwks_public_endpoint": "http://keys.example/"}}})
        self.verifier = TokenVerifier(config, "")

    def _get(self, _url: str) -> bytes:
        self.answers.wait(20)
        public = json.loads(ECAlgorithm.to_jwk(self.key.public_key()))
        return json.dumps({"keys": [{**public, "kid": "one"}]}).encode()

    async def identity(self, kid: str, timeout_s: float = 20) -> Identity:
        token = jwt.encode({"sub": "7", "exp": int(time.time()) + 60}, self.key, "ES256", headers={"kid": kid})
        return await identity_of(scope(subprotocols=["clarion", token]), self.verifier, timeout_s)


async def test_identity_of_fetches_a_key_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of a JWKS endpoint's key lets in; one that names a key which the endpoint has not got is refused."""
    endpoint = Endpoint(monkeypatch)
    assert (await endpoint.identity("one")).user == "7"
    with pytest.raises(TokenInvalid):
        await endpoint.identity("two")


async def test_identity_of_waits_for_a_key_no_longer_than_a_join_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead endpoint is a temporary fault; while newer keys are only looked for, the old ones serve on."""
    endpoint = Endpoint(monkeypatch)
    endpoint.answers.clear()
    with pytest.raises(KeysUnavailable):
        await endpoint.identity("one", 0.05)
    endpoint.answers.set()
    assert (await endpoint.identity("one")).user == "7"
    monkeypatch.setattr(jwks, "FRESH_S", -1.0)
    endpoint.verifier._connection.jwks._tried_at = float("-inf")  # type: ignore[union-attr] # long ago
    endpoint.answers.clear()
    try:
        assert (await endpoint.identity("one", 0.05)).user == "7"
    finally:
        endpoint.answers.set()


async def test_identity_of_nobody_is_anonymous() -> None:
    """No token, no session cookie: no database is asked (none is there)."""
    identity = await identity_of(scope(cookie=b"other=1"), VERIFIER, 1)
    assert (identity.user, identity.has_token) == ("", False)
