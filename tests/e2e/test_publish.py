"""The main job: a REST call reaches clients on two gateway replicas, through nginx."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection

from tests.support.product import Product
from tests.support.stock_service import stock_service
from tests.support.websocket import receive_json, room_join

MESSAGES = 1_000


async def two_nodes(product: Product, channel: str, token: str) -> list[ClientConnection]:
    """Clients through nginx until two are on different gateways; those two."""
    found: dict[str, ClientConnection] = {}
    for _ in range(20):
        socket = await room_join(product.url, channel, token, hello="1")
        node = (await receive_json(socket))["hello"]["node"]
        if node in found:
            await socket.close()
        else:
            found[node] = socket
        if len(found) == 2:
            return list(found.values())
    raise AssertionError(f"nginx gave 20 clients to {list(found)}")


async def collect(socket: ClientConnection, count: int) -> list[Any]:
    return [await receive_json(socket) for _ in range(count)]


async def test_a_thousand_publications_reach_both_gateways_in_order(product: Product) -> None:
    """None lost, none doubled, in the order of the REST calls, on each of two replicas."""
    first, second = await two_nodes(product, "bench:order", product.token("7"))
    readers = [asyncio.create_task(collect(socket, MESSAGES)) for socket in (first, second)]
    async with product.async_client() as client:
        ids = []
        for number in range(MESSAGES):
            answer = await client.post("/api/v1/channels/bench:order/publications", json={"data": {"n": number}})
            assert answer.status_code == httpx.codes.ACCEPTED
            ids.append(answer.json()["id"])
    for received in await asyncio.gather(*readers):
        assert received == [{"n": number} for number in range(MESSAGES)]
    assert len(set(ids)) == MESSAGES
    assert ids == sorted(ids)
    for socket in (first, second):  # and nothing comes behind
        await asyncio.to_thread(product.publish, "bench:order", "end")
        assert await receive_json(socket) == "end"
        await socket.close()


async def test_a_client_publishes_to_a_client_on_the_other_gateway(product: Product) -> None:
    """A frame of one client reaches the other across replicas, and its sender too."""
    first, second = await two_nodes(product, "chat:across", product.token("7"))
    await first.send('{"text": "hi"}')
    assert await receive_json(first) == await receive_json(second) == {"text": "hi"}
    await first.close()
    await second.close()


async def test_a_stock_service_and_our_clients_understand_each_other(product: Product, tmp_path: Path) -> None:
    """channels_redis's own layer sends to our clients and receives what we publish by REST."""
    socket = await room_join(product.url, "chat:x", product.token("7"))
    with stock_service(tmp_path, product.dev["redis_url"], product.dev["layer_prefix"]) as service:
        message = {"type": "chat.message", "message": "hi", "nested": [1, {"a": None}]}
        await asyncio.to_thread(service.ask, {"send": message})
        assert await receive_json(socket) == message
        assert await asyncio.to_thread(service.ask, {"receive": 1}) == message
        await asyncio.to_thread(product.publish, "chat:x", {"from": "rest"})
        assert await receive_json(socket) == {"from": "rest"}
        seen = await asyncio.to_thread(service.ask, {"receive": 1})
        assert (seen["type"], seen["data"]) == ("clarion.publication", {"from": "rest"})
        assert seen.keys() == {"type", "data", "offset", "epoch", "time"}  # chat keeps a history
    await socket.close()


async def test_an_idle_room_is_kept_open_by_pings(product: Product) -> None:
    """A quiet socket stays: 26 s are more than a ping interval, and nginx sees each ping and pong."""
    socket = await room_join(product.url, "chat:idle", product.token("7"))
    await asyncio.sleep(26)  # nothing can be awaited: that nothing happens is the point
    await asyncio.to_thread(product.publish, "chat:idle", 1)
    assert await receive_json(socket) == 1
    await socket.close()
