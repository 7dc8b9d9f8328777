"""The server API through nginx, with two gateways: PyPI's ``cent``, unchanged, and what clients see on each gateway."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import cent
import pytest
import requests

from tests.support.product import Product
from tests.support.protocol_client import ProtocolClient, protocol_client
from tests.support.waiting import wait_until


@pytest.fixture
def api(product: Product) -> Iterator[cent.Client]:
    """cent's client, as its README makes it."""
    session = requests.Session()
    session.trust_env = False
    with cent.Client(f"{product.url}/api", product.dev["api_key"], session=session) as client:
        yield client


@pytest.fixture
def user() -> str:
    """A user whom no other test has."""
    return f"u{uuid4().hex[:12]}"


@pytest.fixture
def channel() -> str:
    """A channel that no other test has; it has a history and presence."""
    return f"chat:{uuid4().hex[:12]}"


@pytest.fixture
async def pair(product: Product, user: str) -> AsyncIterator[tuple[ProtocolClient, ProtocolClient]]:
    """Two clients of one user, one on each gateway."""
    first, second = product.dev["gateways"]
    token = await asyncio.to_thread(product.token, user)
    async with protocol_client(first, token) as one, protocol_client(second, token) as other:
        yield one, other


async def call(method: Any, request: Any) -> Any:
    """Call cent while the event loop goes on."""
    return await asyncio.to_thread(method, request)


# cent, method by method


def test_cent_publishes_and_reads_the_history(api: cent.Client, channel: str) -> None:
    """publish with all of its fields, history by limit, position and direction, history_remove."""
    first = api.publish(cent.PublishRequest(channel=channel, data={"n": 1}, tags={"k": "v"}, idempotency_key="k"))
    assert first.offset == 1
    again = api.publish(cent.PublishRequest(channel=channel, data={"n": 9}, idempotency_key="k"))
    assert (again.offset, again.epoch) == (1, first.epoch)
    live = api.publish(cent.PublishRequest(channel=channel, data={"n": 0}, skip_history=True))
    assert (live.offset, live.epoch) == (0, "")
    b64data = base64.b64encode(b'{"n": 2}').decode()
    assert api.publish(cent.PublishRequest(channel=channel, data=None, b64data=b64data)).offset == 2

    position = api.history(cent.HistoryRequest(channel=channel))
    assert (position.publications, position.offset, position.epoch) == ([], 2, first.epoch)
    found = api.history(cent.HistoryRequest(channel=channel, limit=10)).publications
    assert [(item.offset, item.data, item.tags) for item in found] == [(1, {"n": 1}, {"k": "v"}), (2, {"n": 2}, None)]
    since = cent.StreamPosition(offset=1, epoch=first.epoch)
    assert [
        item.offset for item in api.history(cent.HistoryRequest(channel=channel, limit=1, since=since)).publications
    ] == [2]
    newest = api.history(cent.HistoryRequest(channel=channel, limit=1, reverse=True))
    assert [item.offset for item in newest.publications] == [2]

    api.history_remove(cent.HistoryRemoveRequest(channel=channel))
    assert api.history(cent.HistoryRequest(channel=channel, limit=10)).publications == []


def test_cent_broadcasts(api: cent.Client, channel: str) -> None:
    """One response a channel, an error among them."""
    request = cent.BroadcastRequest(channels=[channel, "nosuch:x", "lab:x"], data={"n": 1})
    responses = api.broadcast(request).responses
    assert responses[0].result
    assert responses[0].result.offset == 1
    assert responses[1].error
    assert responses[1].error.code == 102
    assert responses[2].result
    assert (responses[2].result.offset, responses[2].error) == (0, None)


def test_cent_sends_batches(api: cent.Client, channel: str) -> None:
    """Replies in the order of the requests, each of its own kind."""
    commands = [
        cent.PublishRequest(channel=channel, data={"n": 1}),
        cent.BroadcastRequest(channels=[channel], data={"n": 2}),
        cent.HistoryRequest(channel=channel, limit=10),
        cent.InfoRequest(),
        cent.DisconnectRequest(user="nobody"),
    ]
    for parallel in (False, True):
        replies = api.batch(cent.BatchRequest(requests=commands, parallel=parallel)).replies
        kinds = [cent.PublishResult, cent.BroadcastResult, cent.HistoryResult, cent.InfoResult, cent.DisconnectResult]
        assert [type(reply) for reply in replies] == kinds


def test_cent_raises_our_errors(api: cent.Client, product: Product) -> None:
    """Its own classes: an error with its number, a key that is not known, a method that is not there."""
    with pytest.raises(cent.CentApiResponseError) as caught:
        api.publish(cent.PublishRequest(channel="nosuch:x", data={}))
    assert caught.value.code == 102
    with pytest.raises(cent.CentApiResponseError) as caught:
        api.history(cent.HistoryRequest(channel="lab:x", limit=1))
    assert caught.value.code == 108
    with pytest.raises(cent.CentTransportError) as refused:
        api.connections(cent.ConnectionsRequest(user="7", expression=""))
    assert refused.value.status_code == 404
    with cent.Client(f"{product.url}/api", "clk_wrong") as stranger, pytest.raises(cent.CentUnauthorizedError):
        stranger.info(cent.InfoRequest())


async def test_cents_async_client_works_too(product: Product, channel: str) -> None:
    """The same answers over aiohttp."""
    async with cent.AsyncClient(f"{product.url}/api", product.dev["api_key"]) as api:
        published = await api.publish(cent.PublishRequest(channel=channel, data={"n": 1}))
        assert published.offset == 1
        assert len((await api.info(cent.InfoRequest())).nodes) == 2


# Across two gateways


async def test_subscribe_and_unsubscribe_reach_both_gateways(
    api: cent.Client, pair: tuple[ProtocolClient, ProtocolClient], user: str, channel: str
) -> None:
    """A user's connections on two gateways are subscribed as one, see what is published, and are unsubscribed."""
    since = cent.StreamPosition(offset=0, epoch="")
    await call(api.publish, cent.PublishRequest(channel=channel, data={"n": 1}))
    await call(
        api.subscribe,
        cent.SubscribeRequest(user=user, channel=channel, data={"hi": 1}, info={"seat": 7}, recover_since=since),
    )
    for client in pair:
        told = await client.push("subscribe", channel)
        assert (told["data"], told["offset"], told["recoverable"]) == ({"hi": 1}, 1, True)
        assert (await client.push("pub", channel))["data"] == {"n": 1}
    await call(api.publish, cent.PublishRequest(channel=channel, data={"n": 2}))
    assert [(await client.push("pub", channel))["offset"] for client in pair] == [2, 2]
    await call(api.unsubscribe, cent.UnsubscribeRequest(user=user, channel=channel, client=pair[0].id))
    assert (await pair[0].push("unsubscribe", channel))["code"] == 2000
    await call(api.unsubscribe, cent.UnsubscribeRequest(user=user, channel=channel))
    assert (await pair[1].push("unsubscribe", channel))["code"] == 2000


async def test_presence_counts_clients_of_both_gateways(
    api: cent.Client, pair: tuple[ProtocolClient, ProtocolClient], user: str, channel: str
) -> None:
    """A user with two connections is one user and two clients, wherever these are; gone, they are nobody."""
    for client in pair:
        await client.subscribe(channel)
    found = (await call(api.presence, cent.PresenceRequest(channel=channel))).presence
    assert found.keys() == {client.id for client in pair}
    assert {info.user for info in found.values()} == {user}
    stats = await call(api.presence_stats, cent.PresenceStatsRequest(channel=channel))
    assert (stats.num_clients, stats.num_users) == (2, 1)
    await call(api.disconnect, cent.DisconnectRequest(user=user))
    await asyncio.to_thread(
        wait_until, lambda: api.presence_stats(cent.PresenceStatsRequest(channel=channel)).num_clients == 0
    )


async def test_disconnect_reaches_both_gateways(
    api: cent.Client, pair: tuple[ProtocolClient, ProtocolClient], user: str
) -> None:
    """Code and reason as they were given; a whitelist spares one, on whichever gateway."""
    first, second = pair
    closing = cent.Disconnect(code=4555, reason="signed out")
    await call(api.disconnect, cent.DisconnectRequest(user=user, whitelist=[first.id], disconnect=closing))
    assert await second.closed() == (4555, "signed out")
    await call(api.disconnect, cent.DisconnectRequest(user="somebody-else", client=first.id))
    await first.command(ping={})
    assert first.is_open
    await call(api.disconnect, cent.DisconnectRequest(user=user, client=first.id, disconnect=closing))
    assert await first.closed() == (4555, "signed out")


async def test_disconnect_by_default_is_for_good(
    api: cent.Client, pair: tuple[ProtocolClient, ProtocolClient], user: str
) -> None:
    """3503 on both: an SDK does not come back."""
    await call(api.disconnect, cent.DisconnectRequest(user=user))
    assert [await client.closed() for client in pair] == [(3503, "force disconnect")] * 2


async def test_refresh_reaches_both_gateways(
    api: cent.Client, pair: tuple[ProtocolClient, ProtocolClient], user: str
) -> None:
    """A new end is pushed; what has expired is closed."""
    await call(api.refresh, cent.RefreshRequest(user=user, expire_at=int(time.time()) + 2_000))
    for client in pair:
        assert 1_900 < (await client.push("refresh"))["ttl"] <= 2_000
    await call(api.refresh, cent.RefreshRequest(user=user, client=pair[1].id, expired=True))
    assert await pair[1].closed() == (3005, "connection expired")
    await pair[0].command(ping={})
    assert pair[0].is_open


async def test_channels_and_info_add_up_both_gateways(
    api: cent.Client, pair: tuple[ProtocolClient, ProtocolClient], channel: str
) -> None:
    """Subscribers of all gateways, by pattern; every gateway with its own numbers."""
    for client in pair:
        await client.subscribe(channel)
    await pair[0].subscribe(f"{channel}-too")
    found = (await call(api.channels, cent.ChannelsRequest(pattern=f"{channel}*"))).channels
    assert {name: info.num_clients for name, info in found.items()} == {channel: 2, f"{channel}-too": 1}
    everything = (await call(api.channels, cent.ChannelsRequest())).channels
    assert found.keys() <= everything.keys()

    async with asyncio.timeout(30):  # the numbers come with the next heartbeat
        while True:
            nodes = (await call(api.info, cent.InfoRequest())).nodes
            if all(node.num_clients and node.num_users and node.num_subs and node.num_channels for node in nodes):
                break
            await asyncio.sleep(0.1)
    assert [node.name for node in nodes] == ["gateway-1", "gateway-2"]
    assert len({node.uid for node in nodes}) == 2
    assert all(node.version for node in nodes)
