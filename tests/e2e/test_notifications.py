"""A notification reaches its recipients, whatever dies on the way."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from typing import Any

import httpx
import pytest

from tests.support.product import Product
from tests.support.product import product as running_product
from tests.support.waiting import wait_until_async
from tests.support.websocket import receive_json, room_join, wait_closed

pytestmark = pytest.mark.timeout(240)


def notify(product: Product, users: list[str], title: str, data: Any = None) -> str:
    with product.client() as client:
        body = {"users": users, "title": title, "body": "b", "data": data}
        answer = client.post("/api/v1/notifications", json=body)
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    notification: str = answer.json()["id"]
    return notification


async def test_each_recipient_gets_it_and_nobody_else(product: Product) -> None:
    """The event of the documentation, on the personal channel, which is that user's alone."""
    one, two = [await room_join(product.url, f"#{user}", product.token(user)) for user in ("one", "two")]
    foreign = await room_join(product.url, "#one", product.token("two"))
    assert (await wait_closed(foreign))[0] == 4403
    notification = await asyncio.to_thread(notify, product, ["one", "two"], "hello", {"n": [1, None]})
    for socket in (one, two):
        event = await receive_json(socket)
        assert event["event"] == "notification.created"
        assert {key: event["notification"][key] for key in ("id", "title", "body", "data")} == {
            "id": notification, "title": "hello", "body": "b", "data": {"n": [1, None]},
        }  # fmt: skip
        assert event["notification"]["created_at"].startswith("20")
        await socket.close()


def states(product: Product) -> dict[str, int]:
    """How many deliveries are in which state."""
    (database,) = product.run_dir.rglob("*.sqlite3")
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20) as connection:
        rows = connection.execute("select state, count(*) from clarion_inbox_delivery group by state")
        return dict(rows.fetchall())


async def test_a_notifier_killed_midway_loses_nothing() -> None:
    """kill -9 of the notifier, again and again while it works: each arrives at least once, and its row says sent."""
    with running_product() as product:
        socket = await room_join(product.url, "#ada", product.token("ada"))
        seen: set[str] = set()

        async def read() -> None:
            while True:
                seen.add((await receive_json(socket, 200))["notification"]["title"])

        reader = asyncio.create_task(read())
        for batch in range(3):
            for number in range(40):
                await asyncio.to_thread(notify, product, ["ada"], f"{batch}.{number}")
            await asyncio.to_thread(product.kill, "notifier", signal.SIGKILL)
        await wait_until_async(lambda: len(seen) == 120, 90, what="all 120 arrived")
        await wait_until_async(lambda: states(product) == {"sent": 120}, 60, what="all 120 rows say sent")
        assert seen == {f"{batch}.{number}" for batch in range(3) for number in range(40)}
        reader.cancel()
        await socket.close()
