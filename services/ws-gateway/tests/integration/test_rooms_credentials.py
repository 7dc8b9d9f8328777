"""Plain rooms take what the client protocol takes: keys of every kind, subs, and nothing where that is insecure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.jwks_endpoint import ONE, JwksEndpoint, jwks_endpoint

from .conftest import TOKEN_SECRET, GatewayProcess, close_of, received, running_gateway

pytestmark = pytest.mark.timeout(90)

OWN = ec.generate_private_key(ec.SECP256R1())
PREVIOUS = "dev-" + "p" * 40


@pytest.fixture
def endpoint() -> Iterator[JwksEndpoint]:
    with jwks_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def gateway(
    endpoint: JwksEndpoint, shared_redis_url: str, migrated_database: Path, tmp_path: Path
) -> Iterator[GatewayProcess]:
    """One with a key of each kind, that wants an audience and an issuer."""
    pem = OWN.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    config = f"""
        [client.token]
        hmac_previous_secret_key = "{PREVIOUS}"
        ecdsa_public_key = '''{pem}'''
        jwks_public_endpoint = "{endpoint.url}"
        audience = "rooms"
        issuer = "https://id.example"
        [[channel.namespaces]]
        name = "closed"
    """
    with running_gateway(tmp_path, shared_redis_url, migrated_database, config=config) as gateway:
        yield gateway


def signed(key: Any, algorithm: str, kid: str = "", **claims: Any) -> str:
    """A token of user 7 that opens the room ``closed:x`` by its subs."""
    payload = {
        "sub": "7",
        "exp": int(time.time()) + 60,
        "aud": "rooms",
        "iss": "https://id.example",
        "subs": {"closed:x": {}},
        **claims,
    }
    return jwt.encode(payload, key, algorithm, headers={"kid": kid} if kid else None)


async def joins(gateway: GatewayProcess, token: str) -> None:
    async with gateway.connect("closed:x", token=token, query="?hello=1") as socket:
        assert (await received(socket, 1))[0]["hello"]["user"] == "7"


async def test_a_room_takes_tokens_of_every_key(gateway: GatewayProcess) -> None:
    """HS, the previous HS, ES and a fetched RS key; another audience, issuer or key is 4401."""
    for token in (
        signed(TOKEN_SECRET, "HS256"),
        signed(PREVIOUS, "HS256"),
        signed(OWN, "ES256"),
        signed(ONE, "RS256", "one"),
    ):
        await joins(gateway, token)
    for token in (
        signed(TOKEN_SECRET, "HS256", aud="other"),
        signed(TOKEN_SECRET, "HS256", iss="https://other.example"),
        signed("dev-" + "x" * 40, "HS256"),
        signed(ONE, "RS256", "two"),
    ):
        assert (await close_of(gateway.connect("closed:x", token=token)))[0] == 4401


async def test_a_key_that_cannot_be_fetched_in_time_is_temporary(
    gateway: GatewayProcess, endpoint: JwksEndpoint
) -> None:
    """1013 within the join's deadline, not 4401: the token may be good; the next one finds the key."""
    endpoint.gate.clear()
    started = time.monotonic()
    code, reason = await close_of(gateway.connect("closed:x", token=signed(ONE, "RS256", "one")))
    assert (code, bool(reason)) == (1013, True)
    assert time.monotonic() - started < 10
    await joins(gateway, signed(OWN, "ES256"))  # whose key is here does not wait
    endpoint.gate.set()
    await joins(gateway, signed(ONE, "RS256", "one"))


async def test_an_insecure_gateway_lets_anyone_join_and_publish(
    shared_redis_url: str, migrated_database: Path, tmp_path: Path
) -> None:
    """client.insecure: no token and no Origin; a bad token and a foreign page are refused all the same."""
    config = '[client]\ninsecure = true\n[[channel.namespaces]]\nname = "closed"\n'
    with running_gateway(tmp_path, shared_redis_url, migrated_database, config=config) as gateway:
        async with gateway.connect("closed:x", token=None, query="?hello=1") as socket:
            assert (await received(socket, 1))[0]["hello"]["user"] == ""
            await socket.send('"from anyone"')
            assert await received(socket, 1) == ["from anyone"]
        assert (await close_of(gateway.connect("closed:x", token="bad")))[0] == 4401
        foreign = gateway.connect("closed:x", token=None, origin="https://evil.example")
        assert (await close_of(foreign))[0] == 4403
