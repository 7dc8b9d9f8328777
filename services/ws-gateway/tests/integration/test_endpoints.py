"""The endpoints of the client protocol: which pages they let in, and how large a frame may be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from .conftest import PUBLIC_URL, GatewayProcess, close_of, running_gateway, token_for

FRAME_BYTES = 2_048
CONFIG = f"""
[limits]
publication_bytes = 512
connection_frame_bytes = {FRAME_BYTES}
"""
FOREIGN = ["https://evil.example", "https://push.example.evil.example", "http://push.example", "null", ""]


@pytest.fixture(scope="module")
def small(
    shared_redis_url: str, migrated_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway that takes small frames only."""
    with running_gateway(
        tmp_path_factory.mktemp("small"), shared_redis_url, migrated_database, config=CONFIG
    ) as gateway:
        yield gateway


def connecting(size: int) -> str:
    """A connect command of this many bytes."""
    command = {"id": 1, "connect": {"token": token_for("7"), "name": ""}}
    command["connect"]["name"] = "x" * (size - len(json.dumps(command)))  # type: ignore[index]
    return json.dumps(command)


def url_of(gateway: GatewayProcess, path: str) -> str:
    return f"http://127.0.0.1:{gateway.port}{path}"


async def first_of(gateway: GatewayProcess, method: str, path: str, **request: object) -> tuple[int, str]:
    """The status of an answer, and the first line of it that is not empty."""
    async with (
        httpx.AsyncClient(trust_env=False, timeout=20) as client,
        client.stream(method, url_of(gateway, path), **request) as answer,  # type: ignore[arg-type]
    ):
        async for line in answer.aiter_lines():
            if line:
                return answer.status_code, line
        return answer.status_code, ""


async def answer_of(gateway: GatewayProcess, transport: str, size: int) -> tuple[int, str]:
    """Connect over HTTP with a command of this size."""
    command = connecting(size)
    if transport == "sse":
        return await first_of(gateway, "GET", "/connection/sse", params={"cf_connect": command})
    return await first_of(gateway, "POST", "/connection/http_stream", content=command)


async def test_a_websockets_frame_over_the_limit_closes_with_1009(small: GatewayProcess) -> None:
    """Exactly the limit is answered, one byte more is 1009."""
    url = f"ws://127.0.0.1:{small.port}/connection/websocket"
    async with connect(url, proxy=None) as socket:
        await socket.send(connecting(FRAME_BYTES))
        assert "connect" in json.loads(await socket.recv())
        await socket.send(connecting(FRAME_BYTES + 1))
        await socket.wait_closed()
        assert socket.close_code == 1009


@pytest.mark.parametrize("transport", ["http_stream", "sse"])
async def test_a_request_over_the_limit_is_413(small: GatewayProcess, transport: str) -> None:
    """The first commands of a stream are bounded like a frame."""
    status, line = await answer_of(small, transport, FRAME_BYTES)
    assert (status, "connect" in json.loads(line.removeprefix("data: "))) == (200, True)
    status, line = await answer_of(small, transport, FRAME_BYTES + 1)
    assert (status, json.loads(line)["code"]) == (413, "body_too_large")


async def test_emulated_commands_over_the_limit_are_413(small: GatewayProcess) -> None:
    """The whole request counts; on the limit its node is looked for."""
    empty = json.dumps({"session": "s", "node": "nobody", "data": ""})
    for size, status in ((FRAME_BYTES, 404), (FRAME_BYTES + 1, 413)):
        body = json.dumps({"session": "s", "node": "nobody", "data": "x" * (size - len(empty))})
        assert (await first_of(small, "POST", "/emulation", content=body))[0] == status


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_page_is_told_3507(shared_gateway: GatewayProcess, origin: str) -> None:
    """After the handshake, so that a browser's page sees the code, which is terminal; before any command."""
    url = f"ws://127.0.0.1:{shared_gateway.port}/connection/websocket"
    async with connect(url, additional_headers={"Origin": origin}, proxy=None) as socket:
        await socket.wait_closed()
        assert (socket.close_code, socket.close_reason) == (3507, "this Origin is not allowed")


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_pages_request_is_403(shared_gateway: GatewayProcess, origin: str) -> None:
    """Whatever it asks, a good token with it or a preflight; and no header lets the page read the answer."""
    command = connecting(1_000)
    async with httpx.AsyncClient(trust_env=False, headers={"Origin": origin}, timeout=20) as client:
        for answer in (
            await client.post(url_of(shared_gateway, "/connection/http_stream"), content=command),
            await client.get(url_of(shared_gateway, "/connection/sse"), params={"cf_connect": command}),
            await client.post(url_of(shared_gateway, "/emulation"), content="{}"),
            await client.options(url_of(shared_gateway, "/connection/http_stream")),
            await client.options(url_of(shared_gateway, "/emulation")),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
            assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origin", [PUBLIC_URL, "https://app.example", "https://APP.example", None])
async def test_an_allowed_page_connects(shared_gateway: GatewayProcess, origin: str | None) -> None:
    """CLARION_PUBLIC_URL, client.allowed_origins, or no browser; over each transport."""
    headers = {"Origin": origin} if origin else {}
    url = f"ws://127.0.0.1:{shared_gateway.port}/connection/websocket"
    async with connect(url, additional_headers=headers, proxy=None) as socket:
        await socket.send(connecting(1_000))
        assert "connect" in json.loads(await socket.recv())
    for method, path, request in (
        ("POST", "/connection/http_stream", {"content": connecting(1_000)}),
        ("GET", "/connection/sse", {"params": {"cf_connect": connecting(1_000)}}),
    ):
        status, line = await first_of(shared_gateway, method, path, headers=headers, **request)
        assert (status, "connect" in json.loads(line.removeprefix("data: "))) == (200, True)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
async def test_a_loopback_url_has_three_names(on_loopback: GatewayProcess, name: str) -> None:
    """A page of any of them connects, over each transport, to a room and to the lab; of another port it does not."""
    origin = f"http://{name}:8080"
    url = f"ws://127.0.0.1:{on_loopback.port}/connection/websocket"
    async with connect(url, additional_headers={"Origin": origin}, proxy=None) as socket:
        await socket.send(connecting(1_000))
        assert "connect" in json.loads(await socket.recv())
    sent = {"params": {"cf_connect": connecting(1_000)}}
    status, _ = await first_of(on_loopback, "GET", "/connection/sse", headers={"Origin": origin}, **sent)
    assert status == 200
    async with on_loopback.connect("chat:x", origin=origin) as room, on_loopback.lesson("sc/", origin=origin):
        await (await room.ping())  # a page that may not is closed at once
    async with httpx.AsyncClient(trust_env=False) as client:
        page = await client.get(url_of(on_loopback, "/lab/"), headers={"Host": f"{name}:8080"})
    assert page.status_code == 200
    code, _ = await close_of(on_loopback.connect("chat:x", origin=f"http://{name}:8081"))
    assert code == 4403


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
async def test_another_public_url_has_one_name(shared_gateway: GatewayProcess, name: str) -> None:
    """Elsewhere than on a developer's machine no local page is ours."""
    code, _ = await close_of(shared_gateway.connect("chat:x", origin=f"https://{name}"))
    assert code == 4403


async def test_a_foreign_host_is_told_so(shared_gateway: GatewayProcess) -> None:
    """The lab's pages: a page for a browser, a document for who asks for it."""
    headers = {"Host": "evil.example"}
    async with httpx.AsyncClient(trust_env=False, headers=headers) as client:
        document = await client.get(url_of(shared_gateway, "/lab/"), headers={"Accept": "application/json"})
        page = await client.get(url_of(shared_gateway, "/lab/"), headers={"Accept": "text/html"})
    assert (document.status_code, document.json()["code"]) == (400, "host_not_allowed")
    assert (page.status_code, "CLARION_PUBLIC_URL" in page.text) == (400, True)
    assert "evil.example" not in page.text + document.text


@pytest.fixture(scope="module")
def on_loopback(
    shared_redis_url: str, migrated_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway whose public URL is a developer's."""
    folder, url = tmp_path_factory.mktemp("loopback"), {"CLARION_PUBLIC_URL": "http://127.0.0.1:8080"}
    with running_gateway(folder, shared_redis_url, migrated_database, **url) as made:
        yield made
