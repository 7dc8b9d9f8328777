"""clarion.tokens.jwks: a real key set endpoint that rotates, fails and misbehaves."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from clarion.errors import KeysUnavailable, TokenInvalid
from clarion.namespaces import config_parse
from clarion.tokens import KeyNotHere, TokenVerifier, jwks
from clarion.tokens.jwks import keys_parse
from tests.support.jwks_endpoint import CURVE, ONE, TWO, JwksEndpoint, entry, jwks_endpoint, signed
from tests.support.waiting import wait_until

PEM = ONE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[JwksEndpoint]:
    monkeypatch.setattr(jwks, "INTERVAL_S", 0.0)
    with jwks_endpoint() as endpoint:
        yield endpoint


def verifier_of(endpoint: JwksEndpoint, **token: str) -> TokenVerifier:
    config = config_parse({"client": {"token": {"jwks_public_endpoint": endpoint.url, **token}}})
    return TokenVerifier(config, "s" * 64)


async def test_a_key_is_fetched_once_and_kept(endpoint: JwksEndpoint) -> None:
    """The sync verification says that a key is missing; after one fetch it verifies by itself."""
    verifier = verifier_of(endpoint)
    with pytest.raises(KeyNotHere) as missing:
        verifier.verify_connection(signed(ONE, "one"))
    await verifier.fetch_keys(missing.value)
    assert verifier.verify_connection(signed(ONE, "one")).user == "7"
    assert (await verifier.connection(signed(CURVE, "curve", "ES256"))).user == "7"
    assert endpoint.asked == 1


async def test_many_clients_share_one_fetch(endpoint: JwksEndpoint) -> None:
    """A thousand reconnecting clients are one request to the endpoint."""
    endpoint.gate.clear()
    verifier = verifier_of(endpoint)
    waiting = [asyncio.create_task(verifier.connection(signed(ONE, "one"))) for _ in range(50)]
    await asyncio.to_thread(wait_until, lambda: endpoint.asked == 1)
    waiting[0].cancel()  # who leaves takes nobody along
    endpoint.gate.set()
    assert [token.user for token in await asyncio.gather(*waiting[1:])] == ["7"] * 49
    assert endpoint.asked == 1


async def test_a_rotated_key_is_found_and_a_withdrawn_one_refused(
    endpoint: JwksEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token with a new key's id makes the set be read anew; a key that has gone from it no longer counts."""
    verifier = verifier_of(endpoint)
    assert (await verifier.connection(signed(ONE, "one"))).user == "7"
    endpoint.serve(entry(ONE, "one"), entry(TWO, "two"))
    assert (await verifier.connection(signed(TWO, "two"))).user == "7"
    endpoint.serve(entry(TWO, "two"))
    assert (await verifier.connection(signed(ONE, "one"))).user == "7"  # still fresh
    monkeypatch.setattr(jwks, "FRESH_S", -1.0)
    monkeypatch.setattr(jwks, "RETRY_S", -1.0)
    with pytest.raises(TokenInvalid):
        await verifier.connection(signed(ONE, "one"))
    monkeypatch.undo()
    assert (await verifier.connection(signed(TWO, "two"))).user == "7"


async def test_made_up_key_ids_cost_the_endpoint_one_request_a_second(
    endpoint: JwksEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ids come, fetches are apart by the interval; each token is refused all the same."""
    monkeypatch.setattr(jwks, "INTERVAL_S", 0.5)
    verifier = verifier_of(endpoint)
    began = time.monotonic()
    for number in range(3):
        tokens = [verifier.connection(signed(ONE, f"made-up-{number}-{n}")) for n in range(20)]
        for refused in await asyncio.gather(*tokens, return_exceptions=True):
            assert isinstance(refused, TokenInvalid)
    assert endpoint.asked == 3
    assert time.monotonic() - began >= 1.0


async def test_an_endpoint_that_is_away_does_not_refuse_tokens(
    endpoint: JwksEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known keys serve on; for an unknown one the answer is temporary, so that no client gives up for ever."""
    verifier = verifier_of(endpoint)
    endpoint.status = 500
    with pytest.raises(KeysUnavailable):
        await verifier.connection(signed(ONE, "one"))
    endpoint.status = 200
    assert (await verifier.connection(signed(ONE, "one"))).user == "7"
    endpoint.status = 503
    monkeypatch.setattr(jwks, "FRESH_S", -1.0)
    with pytest.raises(KeysUnavailable):
        await verifier.connection(signed(TWO, "two"))
    asked = endpoint.asked
    for _ in range(5):
        assert (await verifier.connection(signed(ONE, "one"))).user == "7"
    assert endpoint.asked == asked  # not another try for RETRY_S


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""), (200, b"<html>"), (200, b"[]"), (200, b'{"keys": {}}'), (200, b"\xff"), (200, b"[" * 100_000),
        (200, b'{"keys": [' + b"1," * 200 + b"1]}"), (200, b" " * 300_000), (404, b"{}"), (302, b""), (204, b""),
    ],
)  # fmt: skip
async def test_an_answer_that_is_no_key_set_is_an_outage(endpoint: JwksEndpoint, status: int, body: bytes) -> None:
    """Not JSON, not a set, too large, too many keys, a redirect: none of it is followed or believed."""
    endpoint.status, endpoint.body = status, body
    with pytest.raises(KeysUnavailable):
        await verifier_of(endpoint).connection(signed(ONE, "one"))
    assert endpoint.asked == 1


async def test_an_endpoint_that_hangs_is_an_outage(endpoint: JwksEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline holds for the whole answer."""
    monkeypatch.setattr(jwks, "DEADLINE_S", 0.2)
    endpoint.gate.clear()
    with pytest.raises(KeysUnavailable):
        await verifier_of(endpoint).connection(signed(ONE, "one"))


async def test_a_key_serves_its_own_algorithm_only(endpoint: JwksEndpoint) -> None:
    """By its type, and by its alg where the set says one."""
    endpoint.serve(entry(ONE, "one", alg="RS512"), entry(CURVE, "curve"))
    verifier = verifier_of(endpoint)
    assert (await verifier.connection(signed(ONE, "one", "RS512"))).user == "7"
    for token in (signed(ONE, "one", "RS256"), signed(ONE, "curve"), signed(CURVE, "one", "ES256")):
        with pytest.raises(TokenInvalid):
            await verifier.connection(token)


async def test_a_public_key_of_the_set_is_no_hmac_secret(endpoint: JwksEndpoint) -> None:
    """An HS256 token is checked with the HMAC key alone, whatever key it names."""
    verifier = verifier_of(endpoint)
    await verifier.connection(signed(ONE, "one"))
    with pytest.raises(TokenInvalid):
        await verifier.connection(signed(PEM, "one", "HS256"))
    assert (await verifier.connection(signed("s" * 64, "one", "HS256"))).user == "7"


async def test_a_token_without_a_key_id_means_the_only_key_of_its_kind(endpoint: JwksEndpoint) -> None:
    """kid may be left out where nothing is ambiguous."""
    verifier = verifier_of(endpoint)
    assert (await verifier.connection(signed(ONE, None))).user == "7"
    endpoint.serve(entry(ONE, "one"), entry(TWO, "two"))
    fresh = verifier_of(endpoint)
    with pytest.raises(TokenInvalid):
        await fresh.connection(signed(ONE, None))


@pytest.mark.parametrize(("kid", "algorithm"), [("curve", "RS256"), ("one", "ES256"), (None, "RS256"), ("no", "RS256")])
async def test_a_key_that_is_not_found_is_asked_for_and_then_refused(
    endpoint: JwksEndpoint, kid: str | None, algorithm: str
) -> None:
    """The fetch itself says so: another kind of key under that id, or one of several without an id, is not the key."""
    endpoint.serve(entry(ONE, "one"), entry(TWO, "two"), entry(CURVE, "curve"))
    verifier = verifier_of(endpoint)
    token = signed(CURVE if algorithm == "ES256" else ONE, kid, algorithm)
    with pytest.raises(KeyNotHere) as missing:
        verifier.verify_connection(token)
    with pytest.raises(TokenInvalid):
        await verifier.fetch_keys(missing.value)
    assert endpoint.asked == 1


async def test_an_algorithm_that_no_key_serves_asks_for_none(endpoint: JwksEndpoint) -> None:
    """``none`` and the like are refused by the header alone."""
    verifier = verifier_of(endpoint)
    header = base64.urlsafe_b64encode(b'{"alg":"none","kid":"no"}').decode().rstrip("=")
    for token in (f"{header}.{signed(ONE, 'one').split('.')[1]}.", signed("s" * 63, "no", "HS256")):
        with pytest.raises(TokenInvalid):
            verifier.verify_connection(token)
    assert endpoint.asked == 0


async def test_a_key_that_comes_while_the_set_is_being_read_is_found(endpoint: JwksEndpoint) -> None:
    """A set that was asked for before the token came may be too old to refuse it: it is read once more."""
    verifier = verifier_of(endpoint)
    endpoint.gate.clear()
    first = asyncio.create_task(verifier.connection(signed(ONE, "one")))
    await asyncio.to_thread(wait_until, lambda: endpoint.asked == 1)
    endpoint.serve(entry(ONE, "one"), entry(TWO, "two"))
    second = asyncio.create_task(verifier.connection(signed(TWO, "two")))
    await asyncio.sleep(0)  # it has joined the fetch that is under way
    endpoint.gate.set()
    assert [token.user for token in await asyncio.gather(first, second)] == ["7", "7"]
    assert endpoint.asked == 2


async def test_the_key_of_the_file_stands_beside_the_set(endpoint: JwksEndpoint) -> None:
    """A token of client.token.rsa_public_key needs no endpoint."""
    pem = TWO.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    verifier = verifier_of(endpoint, rsa_public_key=pem)
    assert verifier.verify_connection(signed(TWO, None)).user == "7"
    assert verifier.verify_connection(signed(TWO, "unknown")).user == "7"
    assert endpoint.asked == 0
    assert (await verifier.connection(signed(ONE, "one"))).user == "7"
    assert verifier.verify_connection(signed(TWO, "unknown")).user == "7"


def test_keys_parse_passes_over_what_it_cannot_use() -> None:
    """Secret keys, encryption keys, unknown kinds and broken entries do not take the good ones along."""
    weak = rsa.generate_private_key(65537, 1024)
    entries: list[Any] = [
        entry(ONE, "one"),
        entry(TWO, "encrypts", use="enc"),
        entry(TWO, "signs", key_ops=["sign"]),
        entry(weak, "weak"),
        {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
        {"kty": "OKP", "crv": "Ed25519", "kid": "okp", "x": "AA"},
        {"kty": "RSA", "kid": "broken", "n": "!", "e": 1},
        {"kty": "EC", "kid": "broken-curve", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "RSA"}, {"kty": ["RSA"]}, {"key_ops": 7}, None, 7, [],
        {**json.loads(RSAAlgorithm.to_jwk(TWO)), "kid": "private"},
        entry(CURVE, ""),
    ]  # fmt: skip
    keys = keys_parse(json.dumps({"keys": entries}).encode())
    assert [kid for kid in keys if not kid.startswith("\0")] == ["one"]
    assert len(keys) == 2
