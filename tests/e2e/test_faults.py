"""What callers see through nginx when their input is bad, or Redis is away."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import httpx
import pytest

from tests.support.product import Product
from tests.support.product import product as running_product
from tests.support.waiting import wait_until_async
from tests.support.websocket import receive_json, room_join, wait_closed

PUBLICATIONS = "/api/v1/channels/chat:x/publications"
JSON = {"Content-Type": "application/json"}


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("path", "request_", "status", "code"),
    [
        ("/api/v1/channels/a%20b/publications", {"json": {"data": 1}}, 400, "name_invalid"),
        ("/api/v1/channels/a%2Fb/publications", {"json": {"data": 1}}, 400, "name_invalid"),
        (f"/api/v1/channels/{'x' * 201}/publications", {"json": {"data": 1}}, 400, "name_invalid"),
        ("/api/v1/channels/nope:x/publications", {"json": {"data": 1}}, 404, "namespace_unknown"),
        (PUBLICATIONS, {"json": {"data": 1}, "headers": {"Authorization": ""}}, 401, None),
        (PUBLICATIONS, {"json": {"data": 1}, "headers": {"Authorization": "Bearer clk_nonsense"}}, 401, None),
        (PUBLICATIONS, {"content": b"{", "headers": JSON}, 400, "json_malformed"),
        (PUBLICATIONS, {"content": b'{"data": NaN}', "headers": JSON}, 400, None),
        (PUBLICATIONS, {"content": b'{"data": 99999999999999999999}', "headers": JSON}, 400, "data_invalid"),
        (PUBLICATIONS, {"json": {"data": "x" * 65_535}}, 413, "publication_too_large"),
        ("/api/v1/nope", {"json": {}}, 404, None),
    ],
)  # fmt: skip
def test_bad_input_is_a_problem_document(
    product: Product, path: str, request_: dict[str, Any], status: int, code: str | None
) -> None:
    """RFC 9457, a stable code, no traceback."""
    with product.client() as client:
        answer = client.post(path, **request_)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["code"] if code is None else problem["code"] == code
    assert "Traceback" not in answer.text


async def test_a_plain_rooms_frame_over_64_kib_closes_with_1009(product: Product) -> None:
    """Through nginx too."""
    socket = await room_join(product.url, "chat:big", product.token("7"))
    await socket.send('"' + "x" * 70_000 + '"')
    assert (await wait_closed(socket))[0] == 1009


@pytest.mark.parametrize(
    ("channel", "user", "origin", "code"),
    [
        ("a b", "7", None, 4400), ("chat:x", "", None, 4401), ("chat:x", "7", "https://evil.example", 4403),
        ("#8", "7", None, 4403), ("nope:x", "7", None, 4404),
    ],
)  # fmt: skip
async def test_a_refused_client_can_tell_why_through_nginx(
    product: Product, channel: str, user: str, origin: str | None, code: int
) -> None:
    """An accepted handshake, then 44xx with a reason."""
    token = product.token(user) if user else ""
    socket = await room_join(product.url, channel, token, origin=origin)
    closed = await wait_closed(socket)
    assert closed[0] == code
    assert closed[1]


@pytest.mark.timeout(240)
async def test_redis_away_is_503_within_two_seconds_and_its_restart_keeps_the_sockets() -> None:
    """Black-holed or killed: never a hang; gateways keep their sockets and deliver within 5 s of its return."""
    with running_product() as product:
        socket = await room_join(product.url, "chat:x", product.token("7"))
        redis = product.pid("redis")
        async with product.async_client() as client:
            product.kill("redis", signal.SIGSTOP)
            started = time.monotonic()
            answers = await asyncio.gather(*(client.post(PUBLICATIONS, json={"data": 1}) for _ in range(30)))
            assert time.monotonic() - started < 4  # 30 at once, each within 2 s plus this machine's noise
            assert max(answer.elapsed.total_seconds() for answer in answers) < 2.5
            assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(503, "layer_unavailable")}
            assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
            product.kill("redis", signal.SIGKILL)
            product.wait_restarted("redis", redis)
            back = time.monotonic()
            while (await client.post(PUBLICATIONS, json={"data": "again"})).status_code != httpx.codes.ACCEPTED:
                assert time.monotonic() - back < 5
            while True:  # a publication before the gateways were back has no receiver: at most once
                await client.post(PUBLICATIONS, json={"data": "again"})
                try:
                    assert await receive_json(socket, 0.2) == "again"
                    break
                except TimeoutError:
                    assert time.monotonic() - back < 5
        await socket.close()


@pytest.mark.timeout(240)
async def test_a_killed_gateway_loses_its_clients_and_the_other_serves_on() -> None:
    """kill -9 of one replica: its clients see a lost connection and come back through nginx at once."""
    with running_product() as product:
        token = product.token("7")
        sockets = [await room_join(product.url, "chat:x", token, hello="1") for _ in range(6)]
        nodes = [(await receive_json(socket))["hello"]["node"] for socket in sockets]
        assert set(nodes) == {"gateway-1", "gateway-2"}
        old = product.kill("gateway-1")
        lost = [socket for socket, node in zip(sockets, nodes, strict=True) if node == "gateway-1"]
        assert {(await wait_closed(socket))[0] for socket in lost} == {1006}
        again = await room_join(product.url, "chat:x", token, hello="1")
        assert (await receive_json(again))["hello"]["node"] == "gateway-2"
        product.wait_restarted("gateway-1", old)
        await wait_until_async(lambda: is_ready(product.dev["gateways"][0]), what="gateway-1 is ready on its old port")
        for socket in (*sockets, again):
            await socket.close()
