"""A subscription's tags filter on a real gateway: live, recovered and in history alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from clarion.publisher import Publisher
from tests.support.protocol_client import ProtocolClient, protocol_client
from tests.support.redis_server import RedisServer
from ws_gateway.endpoints import effects

from .conftest import GatewayProcess, running_gateway, token_for

pytestmark = pytest.mark.timeout(120)

CHANNEL = "tagged:x"
CONFIG = """
[[channel.namespaces]]
name = "tagged"
history_size = 5000
history_ttl = "300s"
force_recovery = true
allow_subscribe_for_client = true
allow_history_for_subscriber = true
allow_tags_filter = true
"""
RARE = {"key": "kind", "cmp": "eq", "val": "rare"}
RARES = [1, 2, 3 + effects.FILTERED_PAGE]
"""Offsets of what matches: the last one stands behind a whole page that does not."""


@pytest.fixture
def gateway(redis_server: RedisServer, migrated_database: Path, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway with a channel that has a filter, and a long history."""
    with running_gateway(tmp_path, redis_server.url, migrated_database, config=CONFIG) as gateway:
        publisher = Publisher([redis_server.url], prefix=gateway.prefix, config=gateway.env["CLARION_CONFIG"])
        for offset in range(1, RARES[-1] + 1):
            publisher.publish(CHANNEL, offset, tags={"kind": "rare" if offset in RARES else "common"})
        publisher.close()
        yield gateway


@pytest.fixture
async def client(gateway: GatewayProcess) -> AsyncIterator[ProtocolClient]:
    """A client; it has subscribed to nothing."""
    async with protocol_client(f"http://127.0.0.1:{gateway.port}", token_for("1")) as client:
        yield client


def offsets(result: dict[str, Any]) -> list[int]:
    return [publication["offset"] for publication in result.get("publications", [])]


async def test_tags_filter_holds_for_what_is_recovered(client: ProtocolClient) -> None:
    """The position is the stream's: what does not match is not missing."""
    top = await client.subscribe(CHANNEL)
    await client.command(unsubscribe={"channel": CHANNEL})
    since = {"recover": True, "offset": RARES[-1] - 100, "epoch": top["epoch"]}
    result = await client.subscribe(CHANNEL, tf=RARE, **since)
    assert (result["recovered"], result["offset"]) == (True, RARES[-1])
    assert offsets(result) == [RARES[-1]]


async def test_tags_filter_holds_for_the_history(client: ProtocolClient) -> None:
    """A page is as long as was asked for, if so many match: an empty one is the end."""
    epoch = (await client.subscribe(CHANNEL, tf=RARE))["epoch"]

    async def page(**fields: Any) -> list[int]:
        return offsets((await client.command(history={"channel": CHANNEL, **fields}))["history"])

    assert await page(limit=-1) == RARES
    assert await page(limit=2) == RARES[:2]
    assert await page(limit=2, since={"offset": RARES[1], "epoch": epoch}) == RARES[2:]
    assert await page(limit=2, reverse=True) == [RARES[2], RARES[1]]
    assert await page(limit=0) == []
