"""Tokens with a key of a JWKS endpoint, on a real gateway: connect, subscribe, refresh and sub_refresh."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.support.jwks_endpoint import CURVE, ONE, TWO, JwksEndpoint, entry, jwks_endpoint, signed
from tests.support.protocol_client import ProtocolClient, protocol_client
from tests.support.waiting import DEADLINE_S

from .conftest import GatewayProcess, running_gateway, token_for

pytestmark = pytest.mark.timeout(120)

CHANNEL = "closed:x"
CONFIG = """
[client.token]
jwks_public_endpoint = "{url}"
[[channel.namespaces]]
name = "closed"
"""
HASTY = {
    "application": "hasty_keys:application",
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]),
}

REFUSED = {
    "an unknown key": (ONE, "no", "RS256"),
    "a key of another kind": (ONE, "curve", "RS256"),
    "one of several keys, unnamed": (ONE, None, "RS256"),
}

Running = Callable[..., AbstractContextManager[GatewayProcess]]


@pytest.fixture
def endpoint() -> Iterator[JwksEndpoint]:
    """A set of two RSA keys and an EC key."""
    with jwks_endpoint() as endpoint:
        endpoint.serve(entry(ONE, "one", alg="RS256"), entry(TWO, "two"), entry(CURVE, "curve"))
        yield endpoint


@pytest.fixture
def running(endpoint: JwksEndpoint, shared_redis_url: str, migrated_database: Path, tmp_path: Path) -> Running:
    """Start a gateway; whatever tokens come, its log is free of tracebacks at the end."""
    config = CONFIG.format(url=endpoint.url)
    return lambda **options: running_gateway(tmp_path, shared_redis_url, migrated_database, config=config, **options)


def client_of(gateway: GatewayProcess, token: str) -> Any:
    """A connected client."""
    return protocol_client(f"http://127.0.0.1:{gateway.port}", token)


async def connect_answer(gateway: GatewayProcess, token: str) -> int | dict[str, Any]:
    """Connect, and return the close code or the reply."""
    async with connect(f"ws://127.0.0.1:{gateway.port}/connection/websocket", proxy=None) as socket:
        client = ProtocolClient(socket)
        answer = await client.answer(connect={"token": token})
        await client.close()
        return answer


def granting(key: Any, kid: str | None, algorithm: str = "RS256") -> str:
    """A subscription token for user 7."""
    return signed(key, kid, algorithm, channel=CHANNEL)


def error_of(answer: int | dict[str, Any]) -> dict[str, Any]:
    """The error of an answer, without its text."""
    assert isinstance(answer, dict), answer
    error: dict[str, Any] = answer["error"]
    return {name: value for name, value in error.items() if name != "message"}


async def test_a_key_of_the_endpoint_is_fetched_once(running: Running, endpoint: JwksEndpoint) -> None:
    """Connect, subscribe, sub_refresh and refresh with tokens of the set: one request in all."""
    with running() as gateway:
        async with client_of(gateway, signed(ONE, "one")) as client:
            assert "subscribe" in await client.command(subscribe={"channel": CHANNEL, "token": granting(TWO, "two")})
            renewed = granting(CURVE, "curve", "ES256")
            assert "sub_refresh" in await client.command(sub_refresh={"channel": CHANNEL, "token": renewed})
            assert "refresh" in await client.command(refresh={"token": signed(TWO, "two")})
    assert endpoint.asked == 1


@pytest.mark.parametrize("kind", REFUSED)
async def test_a_token_whose_key_is_not_found_is_refused(running: Running, endpoint: JwksEndpoint, kind: str) -> None:
    """3500 at the connect and the refresh, 103 for a subscription; each token is asked for once at most."""
    key, kid, algorithm = REFUSED[kind]
    with running() as gateway:
        assert await connect_answer(gateway, signed(key, kid, algorithm)) == 3500
        async with client_of(gateway, token_for("7")) as client:
            bad = granting(key, kid, algorithm)
            assert error_of(await client.command(subscribe={"channel": CHANNEL, "token": bad})) == {"code": 103}
            # The channel is free again, and the connection as good as before.
            assert "subscribe" in await client.command(subscribe={"channel": CHANNEL, "token": granting(TWO, "two")})
            assert error_of(await client.command(sub_refresh={"channel": CHANNEL, "token": bad})) == {"code": 103}
            assert "unsubscribe" in await client.command(unsubscribe={"channel": CHANNEL})
            assert await client.answer(refresh={"token": signed(key, kid, algorithm)}) == 3500
    assert endpoint.asked <= 4


async def test_an_endpoint_that_is_away_is_a_temporary_error(running: Running, endpoint: JwksEndpoint) -> None:
    """Error 100 to each command, and the connection stays; once it is back, the same tokens are good."""
    temporary = {"code": 100, "temporary": True}
    endpoint.status = 500
    with running() as gateway:
        assert error_of(await connect_answer(gateway, signed(ONE, "one"))) == temporary
        async with client_of(gateway, token_for("7")) as client:
            subscribe = {"channel": CHANNEL, "token": granting(ONE, "one")}
            assert error_of(await client.command(subscribe=subscribe)) == temporary
            assert error_of(await client.command(refresh={"token": signed(ONE, "one")})) == temporary
            endpoint.status = 200
            assert "subscribe" in await client.command(subscribe=subscribe)
            endpoint.status = 500
            later = {"channel": CHANNEL, "token": granting(ONE, "newer")}
            assert error_of(await client.command(sub_refresh=later)) == temporary
            assert "refresh" in await client.command(refresh={"token": signed(ONE, "one")})  # known keys serve on


async def test_keys_rotate(running: Running, endpoint: JwksEndpoint) -> None:
    """A token with a new key makes the set be read again, once; one with a key that has gone is refused."""
    endpoint.serve(entry(ONE, "one"))
    with running() as gateway:
        async with client_of(gateway, signed(ONE, "one")):
            endpoint.serve(entry(ONE, "one"), entry(TWO, "two"))
        for _ in range(3):
            async with client_of(gateway, signed(TWO, "two")):
                pass
    assert endpoint.asked == 2


async def test_a_withdrawn_key_is_refused(running: Running, endpoint: JwksEndpoint) -> None:
    """Its tokens are no longer good once the set has been read anew; those of the others are."""
    with running(**HASTY) as gateway:
        async with client_of(gateway, signed(ONE, "one")):
            endpoint.serve(entry(TWO, "two"))
        async with asyncio.timeout(DEADLINE_S):
            while not isinstance(code := await connect_answer(gateway, signed(ONE, "one")), int):
                assert "connect" in code  # the set is fresh still
        assert code == 3500
        async with client_of(gateway, signed(TWO, "two")):
            pass
