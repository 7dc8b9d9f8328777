"""Every way of leaving, on two real gateways: the other one's clients are told once, and presence knows at once."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from clarion.names import redis_control
from clarion.orders import Disconnect, message_encode
from tests.support.protocol_client import ProtocolClient, protocol_client

from .conftest import CONFIG, GatewayProcess, running_gateway, token_for

SEEN_CONFIG = (
    CONFIG
    + """
[[channel.namespaces]]
name = "seen"
presence = true
join_leave = true
force_push_join_leave = true
allow_subscribe_for_client = true
allow_presence_for_subscriber = true
"""
)
KILLED_S = 10.0
"""The promise for a gateway that is killed."""


@pytest.fixture(scope="module")
def watching(
    shared_redis_url: str, migrated_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """The gateway of those who stay."""
    folder = tmp_path_factory.mktemp("watching")
    with running_gateway(folder, shared_redis_url, migrated_database, config=SEEN_CONFIG) as gateway:
        yield gateway


@pytest.fixture
def leaving(
    watching: GatewayProcess, shared_redis_url: str, migrated_database: Path, tmp_path: Path
) -> Iterator[GatewayProcess]:
    """The gateway of who leaves; a test may end it."""
    shutil.copy(migrated_database, tmp_path)
    gateway = GatewayProcess(tmp_path, shared_redis_url, watching.prefix, config=SEEN_CONFIG, CLARION_NODE="leaving")
    gateway.start()
    yield gateway
    gateway.stop()
    assert "Traceback" not in gateway.log


@asynccontextmanager
async def client_of(gateway: GatewayProcess, user: str) -> AsyncIterator[ProtocolClient]:
    """A client whose end may be rough."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(protocol_client(f"http://127.0.0.1:{gateway.port}", token_for(user)))
        yield client
        with suppress(OSError):
            await stack.aclose()


async def leave(way: str, client: ProtocolClient, gateway: GatewayProcess) -> None:
    """Let the client leave, in one of all ways."""
    if way == "unsubscribe":
        await client.command(unsubscribe={"channel": "seen:x"})
    elif way == "close":
        await client.close()
    elif way == "lost connection":
        client._socket.transport.abort()
    elif way == "disconnected by a service":
        order = Disconnect(user="leaver", code=3503, reason="out")
        gateway.publisher.publish_raw(redis_control(gateway.prefix), message_encode(order))
    elif way == "drain":
        gateway.signal(signal.SIGTERM)
    else:
        gateway.signal(signal.SIGKILL)


@pytest.mark.parametrize(
    "way", ["unsubscribe", "close", "lost connection", "disconnected by a service", "drain", "killed gateway"]
)
async def test_every_way_of_leaving_is_told(watching: GatewayProcess, leaving: GatewayProcess, way: str) -> None:
    """Two tabs of a user on a gateway that goes: one join and one leave of each, and the presence without them."""
    async with client_of(watching, "watcher") as watcher, client_of(leaving, "leaver") as one:
        async with client_of(leaving, "leaver") as two:
            await watcher.subscribe("seen:x")
            for client in (one, two):
                await client.subscribe("seen:x")
                assert await told(watcher, "join", client.id) == {"user": "leaver", "client": client.id}
            assert await stats(watcher) == {"num_clients": 3, "num_users": 2}
            began = time.monotonic()
            for client in (one, two):
                await leave(way, client, leaving)
            for client in (one, two):
                assert await told(watcher, "leave", client.id) == {"user": "leaver", "client": client.id}
            took_s = time.monotonic() - began
        assert list(await members(watcher)) == [watcher.id]
        assert await stats(watcher) == {"num_clients": 1, "num_users": 1}
        more = [push for push in watcher._pushes if {"join", "leave"} & push.keys()]
        # Its own join reaches the watcher, or not: it is told while the gateway subscribes.
        assert all(push.get("join", {}).get("info", {}).get("client") == watcher.id for push in more)
    print(f"{way}: told after {took_s:.2f} s")
    assert took_s < KILLED_S


async def test_a_stream_that_ends_has_left(watching: GatewayProcess, leaving: GatewayProcess) -> None:
    """The client of an HTTP stream is gone when its connection is."""
    async with client_of(watching, "watcher") as watcher:
        await watcher.subscribe("seen:x")
        commands = [
            {"id": 1, "connect": {"token": token_for("leaver")}},
            {"id": 2, "subscribe": {"channel": "seen:x"}},
        ]
        body = "\n".join(map(json.dumps, commands))
        url = f"http://127.0.0.1:{leaving.port}/connection/http_stream"
        async with asyncio.timeout(60), httpx.AsyncClient(timeout=30) as http, http.stream("POST", url, content=body):
            joined = await watcher.push_where(lambda push: "join" in push and _is_leaver(push["join"]), "join")
        left = await told(watcher, "leave", joined["info"]["client"])
        assert left == joined["info"]
        assert list(await members(watcher)) == [watcher.id]


def _is_leaver(push: dict[str, Any]) -> bool:
    return bool(push["info"]["user"] == "leaver")


async def told(watcher: ProtocolClient, kind: str, client: str) -> dict[str, Any]:
    """Wait for the join or leave of a client, and return its info."""
    push = await watcher.push_where(lambda push: kind in push and push[kind]["info"]["client"] == client, kind)
    info: dict[str, Any] = push["info"]
    return info


async def members(watcher: ProtocolClient) -> dict[str, Any]:
    """Who is there, by the watcher's gateway."""
    found: dict[str, Any] = (await watcher.command(presence={"channel": "seen:x"}))["presence"]["presence"]
    return found


async def stats(watcher: ProtocolClient) -> dict[str, int]:
    """How many are there."""
    found: dict[str, int] = (await watcher.command(presence_stats={"channel": "seen:x"}))["presence_stats"]
    return found
