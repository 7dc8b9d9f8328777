"""A subscription's tags filter on a real gateway: live, recovered and in history alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from clarion.publisher import Publisher
from tests.support.protocol_client import ProtocolClient, protocol_client
from tests.support.redis_server import RedisServer
from ws_gateway import matching

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
[[channel.namespaces]]
name = "long"
history_size = 20000
history_ttl = "300s"
force_recovery = true
allow_subscribe_for_client = true
allow_tags_filter = true
"""
COMMON = {"key": "kind", "cmp": "eq", "val": "common"}
RARE = {"key": "kind", "cmp": "eq", "val": "rare"}
RARES = [1, 2, 3 + matching.FILTERED_PAGE]
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


async def test_what_does_not_match_does_not_count_as_missed(client: ProtocolClient) -> None:
    """A client knows the offset of its last match: 1,000 others behind it are no loss, and no more than it wants."""
    epoch = (await client.subscribe(CHANNEL))["epoch"]
    await client.command(unsubscribe={"channel": CHANNEL})
    result = await client.subscribe(CHANNEL, tf=RARE, recover=True, offset=RARES[0], epoch=epoch)
    assert (result["recovered"], result["offset"], offsets(result)) == (True, RARES[-1], RARES[1:])


@pytest.mark.parametrize(("since", "recovered"), [(RARES[-1] - 301, True), (RARES[-1] - 302, False)])
async def test_matches_count_against_the_limit(client: ProtocolClient, since: int, recovered: bool) -> None:
    """300 of them come; of one more the client is told that it must reload."""
    epoch = (await client.subscribe(CHANNEL))["epoch"]
    await client.command(unsubscribe={"channel": CHANNEL})
    result = await client.subscribe(CHANNEL, tf=COMMON, recover=True, offset=since, epoch=epoch)
    assert (result.get("recovered", False), len(offsets(result))) == (recovered, 300 if recovered else 0)


async def test_matches_are_found_in_a_long_stream(gateway: GatewayProcess, client: ProtocolClient) -> None:
    """Far behind, it is read in pages while more is published: what matches comes once, in order, then live."""
    channel, before, top = "long:x", 3 * matching.SHARED_MAX, 0

    def publish() -> None:
        nonlocal top
        top += 1
        kind = "common" if top % (1_500 if top <= before else 20) else "rare"
        assert gateway.publisher.publish(channel, top, tags={"kind": kind}).offset == top

    for _ in range(before):
        publish()
    async with protocol_client(f"http://127.0.0.1:{gateway.port}", token_for("2")) as other:
        epoch = (await other.subscribe(channel, tf=RARE))["epoch"]  # so that the process has the channel already
        recovering = asyncio.create_task(client.subscribe(channel, tf=RARE, recover=True, offset=1_000, epoch=epoch))
        while not recovering.done():
            await asyncio.to_thread(publish)
    while top % 20:
        publish()
    result = recovering.result()
    assert result["recovered"]
    seen = offsets(result)
    assert [offset for offset in seen if offset > result["offset"]] == []
    while seen[-1] < top:
        seen.append((await client.push("pub", channel))["offset"])
    assert seen == [*range(1_500, before + 1, 1_500), *range(before + 20, top + 1, 20)]


async def test_a_long_stream_that_has_lost_its_start_is_not_recovered(
    gateway: GatewayProcess, client: ProtocolClient
) -> None:
    """What may have matched is gone."""
    channel = "long:x"
    for offset in range(20_001):
        gateway.publisher.publish(channel, offset)
    epoch = (await client.subscribe(channel))["epoch"]
    await client.command(unsubscribe={"channel": channel})
    result = await client.subscribe(channel, tf=RARE, recover=True, offset=0, epoch=epoch)
    assert (result.get("recovered", False), offsets(result)) == (False, [])


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
