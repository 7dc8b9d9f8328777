"""``GET /metrics`` of a real gateway: what happens to it is what the numbers say."""

from __future__ import annotations

import asyncio
import socket as sockets
import urllib.request
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.support.protocol_client import protocol_client
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until_async

from .conftest import GatewayProcess, close_of, received, token_for

pytestmark = pytest.mark.timeout(90)

PROTOBUF = Subprotocol("centrifuge-protobuf")
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Numbers:
    """One scrape."""

    def __init__(self, gateway: GatewayProcess) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway.internal_port}/metrics", timeout=20) as answer:
            assert answer.headers["content-type"].startswith("text/plain; version=")
            self.text = answer.read().decode()
        self.samples: Samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        return self.samples.get((f"clarion_gateway_{name}", frozenset(labels.items())), 0.0)


async def moved(gateway: GatewayProcess, condition: Callable[[Numbers], bool], what: str) -> Numbers:
    """Scrape until a condition holds."""
    last = [Numbers(gateway)]

    def holds() -> bool:
        last[0] = Numbers(gateway)
        return condition(last[0])

    await wait_until_async(holds, what=what)
    return last[0]


def connect_of(user: str) -> dict[str, Any]:
    return {"id": 1, "connect": {"token": token_for(user)}}


async def test_connections_are_counted_by_protocol(gateway: GatewayProcess) -> None:
    """A plain room, the client protocol on each transport, and a stock consumer; and they are gone afterwards."""
    url = f"http://127.0.0.1:{gateway.port}"
    kinds = [
        {"protocol": "room", "format": "json"},
        {"protocol": "websocket", "format": "json"},
        {"protocol": "websocket", "format": "protobuf"},
        {"protocol": "http_stream", "format": "json"},
        {"protocol": "sse", "format": "json"},
        {"protocol": "consumer", "format": ""},
    ]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(gateway.connect("chat:x"))
        client = await stack.enter_async_context(protocol_client(url, token_for("7")))
        await client.subscribe("chat:x")
        await stack.enter_async_context(connect(f"ws{url[4:]}/connection/websocket", subprotocols=[PROTOBUF]))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False, timeout=20))
        body = connect_of("7")
        await stack.enter_async_context(http.stream("POST", "/connection/http_stream", json=body))
        query = {"cf_connect": httpx.Request("POST", url, json=body).content.decode()}
        await stack.enter_async_context(http.stream("GET", "/connection/sse", params=query))
        await stack.enter_async_context(gateway.lesson("counter/async/"))
        numbers = Numbers(gateway)
        assert [numbers("connections", **kind) for kind in kinds] == [1] * 6
        assert [numbers("connections_opened_total", **kind) for kind in kinds[:5]] == [1] * 5
        assert numbers("sockets") == 6
        assert (numbers("subscriptions"), numbers("channels")) == (2, 1)
        assert numbers("commands_total", method="connect") == 3
        assert numbers("commands_total", method="subscribe") == 1
    numbers = await moved(gateway, lambda now: now("sockets") == 0 and now("channels") == 0, "all are gone")
    assert [numbers("connections", **kind) for kind in kinds] == [0] * 6
    assert numbers("subscriptions") == 0


async def test_publications_and_errors_are_counted(gateway: GatewayProcess) -> None:
    """What clients send, what Redis took of it, and what was answered with an error, by its code."""
    url = f"http://127.0.0.1:{gateway.port}"
    async with gateway.connect("chat:x") as room, protocol_client(url, token_for("7")) as client:
        await client.subscribe("chat:x")
        await room.send('"from the room"')
        await client.push("pub", "chat:x")
        await client.command(publish={"channel": "chat:x", "data": 1})
        assert await received(room, 2) == ["from the room", 1]
        await room.send("no JSON")
        code = (await received(room, 1))[0]["error"]["code"]
        assert "error" in await client.command(publish={"channel": "closed:x", "data": 1})
        numbers = Numbers(gateway)
        assert numbers("publications_total", result="sent") == 2
        assert numbers("messages_received_total", protocol="room") == 2
        assert numbers("messages_received_total", protocol="websocket") == 4
        assert numbers("errors_total", code=code) == 1
        assert numbers("errors_total", code="permission_denied") == 1
        assert numbers("redis_reads_total") > 0
        assert numbers("redis_read_bytes_total") > 100


async def test_refusals_are_counted_by_reason(gateway: GatewayProcess) -> None:
    """The server's own at the handshake, and those that are told by a close code."""
    assert (await close_of(gateway.connect("closed:x")))[0] == 4403
    assert (await close_of(gateway.connect("chat:x", origin="https://elsewhere.example")))[0] == 4403
    with pytest.raises(InvalidStatus):
        async with gateway.lesson("nowhere/"):
            pass
    with sockets.create_connection(("127.0.0.1", gateway.port)) as raw:
        raw.sendall(b"GET /ws/chat:x/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 4")
    numbers = Numbers(gateway)
    assert numbers("refused_total", reason="permission_denied") == 2
    assert numbers("refused_total", reason="denied") == 1
    assert numbers("refused_total", reason="malformed") == 1
    assert numbers("refused_total", reason="too_many_connections") == 0


async def test_a_client_that_does_not_read_is_counted_as_lost(gateway: GatewayProcess) -> None:
    """What waits for it is seen while it waits; then it is given up, by reason, and nothing waits any more."""
    async with gateway.connect("chat:x") as slow:
        transport = slow.transport
        transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        transport.pause_reading()
        before = Numbers(gateway)
        assert before("queued_bytes_limit") > 0

        async def publish() -> None:
            while Numbers(gateway)("lost_total", reason="slow") == 0:
                await asyncio.to_thread(gateway.publisher.publish, "chat:x", "x" * 60_000)

        seen = []
        publishing = asyncio.create_task(publish())
        while not publishing.done():
            seen.append(Numbers(gateway)("queued_bytes"))
            await asyncio.sleep(0)
        await publishing
        assert max(seen) > 0
        numbers = await moved(gateway, lambda now: now("queued_bytes") == 0, "nothing waits any more")
        assert numbers("lost_total", reason="slow") == 1
        transport.resume_reading()


async def test_losses_and_heals_are_counted(gateway: GatewayProcess, redis_server: RedisServer) -> None:
    """Redis cuts the subscription: a loss, and what was published meanwhile is a heal."""
    async with gateway.connect("kept:x", query="?since=0") as room:
        await received(room, 1)
        assert Numbers(gateway)("redis_connected") == 1
        with redis_server.client() as client:
            client.client_kill_filter(_type="pubsub")
        gateway.publisher.publish("kept:x", 1)
        assert await received(room, 1) == [1]
        numbers = await moved(gateway, lambda now: now("redis_connected") == 1, "it is back")
        assert numbers("redis_losses_total") == 1
        assert (numbers("heals_total"), numbers("positions_lost_total")) == (1, 0)


def test_metrics_name_no_channel_and_no_user(gateway: GatewayProcess) -> None:
    """The page parses, every series exists before its first event, and the process describes itself."""
    numbers = Numbers(gateway)
    assert ("process_resident_memory_bytes", frozenset()) in numbers.samples
    assert ("clarion_gateway_lost_total", frozenset({("reason", "slow")})) in numbers.samples
    assert ("clarion_event_loop_lag_seconds_bucket", frozenset({("le", "+Inf")})) in numbers.samples
    assert numbers.text.count('service="ws-gateway"') == 1
    labels = {name for _, labels in numbers.samples for name, _ in labels}
    assert labels <= {
        "le", "reason", "code", "method", "protocol", "format", "result", "generation", "python", "service", "version",
    }  # fmt: skip
