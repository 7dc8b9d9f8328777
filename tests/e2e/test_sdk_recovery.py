"""Centrifugo's SDKs: what was published while a client was away arrives, once, in order; or it is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.sdk import SdkClient, Variant
from tests.support.sdk_clients import Clients
from tests.support.sdk_flow import flow
from tests.support.sdk_network import Network, network
from tests.support.sdk_product import SdkProduct, token


@pytest.fixture
def net(sdk_product: SdkProduct) -> Iterator[Network]:
    """A network of this test's own, from the SDK to nginx."""
    with network(sdk_product.port) as made:
        yield made


def send(product: SdkProduct, channel: str, first: int, last: int) -> None:
    for number in range(first, last + 1):
        product.send(channel, {"n": number})


def numbers(first: int, last: int) -> list[dict[str, int]]:
    return [{"n": number} for number in range(first, last + 1)]


def away(client: SdkClient, net: Network) -> None:
    """Cut the client's network and wait until it noticed."""
    before = len(client.of("connecting"))
    net.cut()
    client.wait("connecting", count=before + 1)


def test_sdk_recovers_over_a_cut_network(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct, net: Network
) -> None:
    """Twice, in a client-side, a server-side and the personal subscription."""
    own, listed, personal = f"kept:{name}", f"kept:{name}-listed", f"#{name}"
    client = clients.connect(variant, url=net.url, token=token(name, channels=[listed]))
    client.subscribe(own)
    for turn in range(2):
        for channel in (own, listed, personal):
            send(sdk_product, channel, 20 * turn + 1, 20 * turn + 10)
        client.wait_data(own, numbers(1, 20 * turn + 10))
        away(client, net)
        for channel in (own, listed, personal):
            send(sdk_product, channel, 20 * turn + 11, 20 * turn + 20)
        net.mend()
        for channel in (own, listed, personal):
            client.wait_data(channel, numbers(1, 20 * turn + 20))
            told = client.wait("subscribed", channel, count=turn + 2)
            assert (told["was_recovering"], told["recovered"]) == (True, True)
    for channel in (own, listed, personal):
        send(sdk_product, channel, 41, 41)
        client.wait_data(channel, numbers(1, 41))


def test_sdk_recovers_while_more_is_published(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct, net: Network
) -> None:
    """The network is cut and mended in the middle of a flow."""
    channel = f"kept:{name}"
    client = clients.connect(variant, url=net.url)
    client.subscribe(channel)
    with flow(sdk_product, channel) as flowing:
        for turn in range(4):
            flowing.wait_more(5)
            away(client, net)
            flowing.wait_more(5)
            net.mend()
            client.wait("subscribed", channel, count=turn + 2)
    client.wait_data(channel, flowing.sent)
    assert all(each["recovered"] for each in client.of("subscribed", channel)[1:])


def test_sdk_recovers_after_its_own_disconnect(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """disconnect() and connect() keep the position; so do unsubscribe() and subscribe()."""
    channel = f"kept:{name}"
    client = clients.connect(variant)
    client.subscribe(channel)
    client.call("disconnect")
    client.wait("disconnected")
    send(sdk_product, channel, 1, 10)
    client.connect()
    client.wait_data(channel, numbers(1, 10))
    client.call("unsubscribe", channel=channel)
    client.call("rpc", method="sdk.whoami", data={})
    send(sdk_product, channel, 11, 20)
    client.call("resubscribe", channel=channel)
    client.wait_data(channel, numbers(1, 20))
    assert client.of("subscribed", channel)[-1]["recovered"]


def test_sdk_recovers_where_it_asks_for_it(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """allow_recovery: whoever asks recovers, whoever does not starts anew."""
    channel = f"asked:{name}"
    asking, other = clients.connect(variant), clients.connect(variant)
    assert asking.subscribe(channel, recoverable=True, positioned=True)["recoverable"]
    assert not other.subscribe(channel)["recoverable"]
    for client in (asking, other):
        client.call("disconnect")
        client.wait("disconnected")
    send(sdk_product, channel, 1, 3)
    for client in (asking, other):
        client.connect()
        client.wait("subscribed", channel, count=2)
    send(sdk_product, channel, 4, 4)
    asking.wait_data(channel, numbers(1, 4))
    other.wait_data(channel, numbers(4, 4))


def test_sdk_is_told_when_the_window_was_left(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """recovered is false, nothing of the gap comes, and it goes on live."""
    channel = f"window:{name}"
    client = clients.connect(variant)
    client.subscribe(channel)
    client.call("disconnect")
    client.wait("disconnected")
    send(sdk_product, channel, 1, 11)
    client.connect()
    told = client.wait("subscribed", channel, count=2)
    assert (told["was_recovering"], told["recovered"]) == (True, False)
    assert told["position"]["offset"] == 11
    send(sdk_product, channel, 12, 12)
    client.wait_data(channel, numbers(12, 12))


def test_sdk_is_told_when_redis_lost_the_stream(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """While it was away: recovered is false, though as much was published as before."""
    channel = f"kept:{name}"
    client = clients.connect(variant)
    client.subscribe(channel)
    send(sdk_product, channel, 1, 5)
    client.wait_data(channel, numbers(1, 5))
    client.call("disconnect")
    client.wait("disconnected")
    sdk_product.forget(channel)
    send(sdk_product, channel, 1, 5)
    client.connect()
    told = client.wait("subscribed", channel, count=2)
    assert (told["was_recovering"], told["recovered"]) == (True, False)
    send(sdk_product, channel, 6, 6)
    client.wait_data(channel, [*numbers(1, 5), *numbers(6, 6)])


def test_connected_sdk_is_told_when_redis_lost_the_stream(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """By the first publication of the new stream: 2500, subscribed anew with recovered false, then live."""
    channel = f"kept:{name}"
    client = clients.connect(variant)
    client.subscribe(channel)
    send(sdk_product, channel, 1, 5)
    client.wait_data(channel, numbers(1, 5))
    sdk_product.forget(channel)
    send(sdk_product, channel, 6, 6)
    client.wait_for(
        lambda seen: (seen["event"], seen.get("channel"), seen.get("code")) == ("subscribing", channel, 2500),
        what="2500",
        deadline_s=8,  # less than the gateways take to notice by their timer
    )
    told = client.wait("subscribed", channel, count=2)
    assert (told["was_recovering"], told["recovered"]) == (True, False)
    send(sdk_product, channel, 7, 7)
    client.wait_data(channel, [*numbers(1, 5), *numbers(7, 7)])


def test_sdk_gets_the_newest_of_a_cache(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct, net: Network
) -> None:
    """Cache mode: whoever comes back gets the latest publication alone, and only if it is new to it."""
    channel = f"latest:{name}"
    client = clients.connect(variant, url=net.url)
    client.subscribe(channel)
    send(sdk_product, channel, 1, 2)
    client.wait_data(channel, numbers(1, 2))
    away(client, net)
    send(sdk_product, channel, 3, 5)
    net.mend()
    assert client.wait("subscribed", channel, count=2)["recovered"]
    client.wait_data(channel, [*numbers(1, 2), {"n": 5}])
    away(client, net)
    net.mend()
    assert client.wait("subscribed", channel, count=3)["recovered"]
    send(sdk_product, channel, 6, 6)
    client.wait_data(channel, [*numbers(1, 2), {"n": 5}, {"n": 6}])
