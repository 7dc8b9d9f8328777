"""A gateway that lets its clients go: on SIGTERM, on ``POST /drain``, on SIGUSR2."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from clarion.publisher import Publisher
from tests.support.protocol_client import ProtocolClient, protocol_client
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until_async

from .conftest import CONFIG, GatewayProcess, received, running_gateway, token_for
from .far_redis import FarRedis

SEEN = """
[[channel.namespaces]]
name = "seen"
presence = true
join_leave = true
force_push_join_leave = true
allow_subscribe_for_client = true
allow_presence_for_subscriber = true
"""
Start = Callable[..., GatewayProcess]


@pytest.fixture
def start(shared_redis_url: str, migrated_database: Path, tmp_path: Path) -> Iterator[Start]:
    """Start gateways that a test ends by itself, with 0; all have one prefix."""
    started: list[GatewayProcess] = []

    def factory(**env: str) -> GatewayProcess:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        shutil.copy(migrated_database, folder)
        prefix = started[0].prefix if started else tmp_path.name.replace("_", "")[:40]
        python_path = {"PYTHONPATH": str(Path(__file__).parent), "CLARION_RPC_MODULES": "slow_rpc"}
        gateway = GatewayProcess(folder, shared_redis_url, prefix, config=CONFIG + SEEN, **python_path, **env)
        gateway.start()
        started.append(gateway)
        return gateway

    yield factory
    for gateway in started:
        assert gateway.process is not None
        code = gateway.stop() if gateway.process.poll() is None else gateway.process.returncode
        assert code == 0, gateway.log[-3000:]
        assert "Traceback" not in gateway.log


@pytest.fixture
def far(redis_server: RedisServer) -> Iterator[FarRedis]:
    """A proxy before the Redis of a test of its own: it may hold back what Redis sends."""
    with FarRedis(redis_server.port).running() as far:
        yield far


@pytest.fixture
def far_gateway(far: FarRedis, migrated_database: Path, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway whose Redis is behind that."""
    with running_gateway(tmp_path, far.url, migrated_database, CLARION_DRAIN_S="0") as gateway:
        yield gateway


def internal(gateway: GatewayProcess, method: str, path: str) -> tuple[int, dict[str, Any]]:
    """Ask the internal port; 0 while nothing answers."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.internal_port, timeout=20)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except OSError:
        return 0, {}
    finally:
        connection.close()


async def drain(gateway: GatewayProcess, query: str = "") -> tuple[int, dict[str, Any]]:
    return await asyncio.to_thread(internal, gateway, "POST", f"/drain{query}")


async def ended(gateway: GatewayProcess) -> int:
    assert gateway.process is not None
    process = gateway.process
    return await asyncio.to_thread(process.wait, 60)


def client_of(gateway: GatewayProcess, user: str = "7") -> Any:
    return protocol_client(f"http://127.0.0.1:{gateway.port}", token_for(user))


async def close_code(socket: ClientConnection) -> int | None:
    """Read to the end."""
    async with asyncio.timeout(30):
        with suppress(ConnectionClosed):
            while True:
                await socket.recv()
    return socket.close_code


async def told(push: ProtocolClient, client: str) -> None:
    await push.push_where(lambda found: found.get("leave", {}).get("info", {}).get("client") == client, "leave")


# The end


async def test_readiness_is_gone_at_once_and_clients_are_served(start: Start) -> None:
    """From SIGTERM on both ports say not ready and why; until the wait is over clients come in as ever."""
    gateway = start(CLARION_DRAIN_WAIT_S="4", CLARION_DRAIN_S="0")
    async with client_of(gateway) as old:
        gateway.signal(signal.SIGTERM)
        await wait_until_async(lambda: gateway.health("ready") == 503, 3, what="it is not ready")
        status, answer = await asyncio.to_thread(internal, gateway, "GET", "/health/ready")
        assert (status, answer["checks"]["drain"], answer["checks"]["redis"]) == (503, "draining", "ok")
        assert gateway.health("live") == 200
        assert (await asyncio.to_thread(internal, gateway, "GET", "/health/live"))[0] == 200
        async with client_of(gateway, "8") as new:
            await new.subscribe("chat:x")
            await old.subscribe("chat:x")
            gateway.publisher.publish("chat:x", "still here")
            assert (await new.push("pub", "chat:x"))["data"] == "still here"
            assert (await old.push("pub", "chat:x"))["data"] == "still here"
            assert await new.closed() == await old.closed() == (3001, "shutdown")
    assert await ended(gateway) == 0


@pytest.mark.parametrize("how", ["SIGTERM", "POST /drain"])
async def test_each_kind_of_client_is_told_in_its_words(start: Start, how: str) -> None:
    """3001 for the protocol, in the stream for SSE, 1012 for rooms and consumers; presence is cleared, exit code 0."""
    gateway, other = start(CLARION_NODE="leaving"), start(CLARION_NODE="staying")
    connect = json.dumps({"id": 1, "connect": {"token": token_for("9")}})
    url = f"http://127.0.0.1:{gateway.port}/connection/sse"
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(gateway)) for _ in range(20)]
        watcher = await stack.enter_async_context(client_of(other))
        room = await stack.enter_async_context(gateway.connect("chat:x"))
        lesson = await stack.enter_async_context(gateway.lesson("room/x/"))
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=30))
        stream = await stack.enter_async_context(http.stream("GET", url, params={"cf_connect": connect}))
        lines = stream.aiter_lines()
        assert "connect" in await anext(lines)
        await watcher.subscribe("seen:x")
        for client in clients:
            await client.subscribe("seen:x")
        if how == "SIGTERM":
            gateway.signal(signal.SIGTERM)
        else:
            assert await drain(gateway) == (202, {"connections": 23, "ends": True})
        for client in clients:
            assert await client.closed() == (3001, "shutdown")
        assert await close_code(room) == await close_code(lesson) == 1012
        goodbye = [line async for line in lines if "disconnect" in line]
        assert json.loads(goodbye[0].removeprefix("data: "))["push"]["disconnect"]["code"] == 3001
        for client in clients:
            await told(watcher, client.id)
        assert list((await watcher.command(presence={"channel": "seen:x"}))["presence"]["presence"]) == [watcher.id]
    assert await ended(gateway) == 0


async def test_a_second_sigterm_hurries(start: Start) -> None:
    """No wait and no pace, but each client is told, and the exit code is 0."""
    gateway = start(CLARION_DRAIN_WAIT_S="60", CLARION_DRAIN_S="60")
    async with client_of(gateway) as one, gateway.connect("chat:x") as room:
        gateway.signal(signal.SIGTERM)
        await wait_until_async(lambda: gateway.health("ready") == 503, what="it is not ready")
        gateway.signal(signal.SIGTERM)
        assert await one.closed() == (3001, "shutdown")
        assert await close_code(room) == 1012
    assert await ended(gateway) == 0


# What is in flight


async def test_commands_in_flight_are_answered(start: Start) -> None:
    """What a client has asked for is answered before it is told; what it asks for then is not taken any more."""
    gateway = start()
    async with client_of(gateway) as one:
        await one.subscribe("kept:x")
        calls = [asyncio.create_task(one.command(rpc={"method": "slow"})) for _ in range(3)]
        publishes = [asyncio.create_task(one.command(publish={"channel": "kept:x", "data": n})) for n in range(20)]
        await publishes[-1]  # in order, so the calls have been taken
        began = asyncio.get_running_loop().time()
        assert (await drain(gateway, "?share=1"))[0] == 202
        assert [(await call)["rpc"]["data"] for call in calls] == ["done"] * 3
        assert await one.closed() == (3001, "shutdown")
        assert asyncio.get_running_loop().time() - began < 5
        for publish in publishes:
            assert "publish" in await publish


async def test_what_was_published_before_arrives(
    far: FarRedis, far_gateway: GatewayProcess, redis_server: RedisServer, tmp_path: Path
) -> None:
    """What Redis had sent when a client's turn came stands before its goodbye, on a channel without history, too."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(client_of(far_gateway))
        room = await stack.enter_async_context(far_gateway.connect("chat:x"))
        await one.subscribe("chat:x")
        publisher = Publisher([redis_server.url], prefix=far_gateway.prefix, config=tmp_path / "clarion.toml")
        await asyncio.to_thread(publisher.publish, "chat:x", 1)
        assert (await one.push("pub", "chat:x"))["data"] == 1
        far.answers_delay_s = 0.08  # under the fifth of a second that a client's turn may wait
        await asyncio.to_thread(publisher.publish, "chat:x", 2)
        assert (await drain(far_gateway, "?share=1"))[0] == 202
        assert await one.closed() == (3001, "shutdown")
        assert [push["pub"]["data"] for push in one._pushes if "pub" in push] == [2]
        assert await received(room, 2) == [1, 2]
        assert await close_code(room) == 1012
        far.answers_delay_s = 0.0


# A share


async def test_a_share_is_shed_and_the_rest_is_served(start: Start) -> None:
    """Half of 40 clients go with 3001 and may come back here; the others hear what is published."""
    gateway = start(CLARION_DRAIN_S="1")
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(gateway)) for _ in range(40)]
        for client in clients:
            await client.subscribe("chat:x")
        assert await drain(gateway, "?share=0.5") == (202, {"connections": 20, "ends": False})
        await wait_until_async(lambda: sum(not each.is_open for each in clients) == 20, what="half of them are gone")
        left = [client for client in clients if client.is_open]
        assert gateway.health("ready") == 200
        new = await stack.enter_async_context(client_of(gateway))
        await new.subscribe("chat:x")
        gateway.publisher.publish("chat:x", 1)
        for client in (*left, new):
            assert (await client.push("pub", "chat:x"))["data"] == 1
        gateway.signal(signal.SIGUSR2)
        await wait_until_async(lambda: sum(not each.is_open for each in left) >= 10, what="half of the rest is gone")
        assert {(await each.closed())[0] for each in clients if not each.is_open} == {3001}


async def test_drain_refuses_what_it_does_not_understand(start: Start) -> None:
    """A problem document with a stable code; a misspelt share ends nothing."""
    gateway = start(CLARION_DRAIN_S="60")
    for query in ("?share=2", "?share=0", "?share=-1", "?share=x", "?share=", "?share=nan", "?share=inf", "?shar=0.5",
                  "?share=0.5&share=0.5", "?share=0.5&now=1"):  # fmt: skip
        status, answer = await drain(gateway, query)
        assert (status, answer["code"], answer["status"]) == (400, "share_invalid", 400), query
        assert answer["type"] == "urn:clarion:problem:share_invalid"
    status, answer = await asyncio.to_thread(internal, gateway, "GET", "/drain")
    assert (status, answer["code"]) == (405, "method_not_allowed")
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(gateway)) for _ in range(60)]
        assert (await drain(gateway, "?share=1"))[0] == 202
        status, answer = await drain(gateway, "?share=0.1")
        assert (status, answer["code"]) == (409, "drain_under_way")
        for client in clients:
            assert (await client.closed())[0] == 3001
    assert gateway.health("ready") == 200


async def test_a_drain_under_way_is_not_begun_again(start: Start) -> None:
    """Neither a whole one nor a share."""
    gateway = start(CLARION_DRAIN_WAIT_S="60")
    assert (await drain(gateway))[0] == 202
    await wait_until_async(lambda: gateway.health("ready") == 503, what="it is not ready")
    for query in ("", "?share=0.5"):
        status, answer = await drain(gateway, query)
        assert (status, answer["code"]) == (409, "drain_under_way")
    gateway.signal(signal.SIGTERM)  # the orchestrator's, which hurries nothing
    await wait_until_async(lambda: '"signal.ignored"' in gateway.log, what="the signal is seen")
    gateway.signal(signal.SIGTERM)
    assert await ended(gateway) == 0
