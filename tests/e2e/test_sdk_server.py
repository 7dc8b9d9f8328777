"""Centrifugo's SDKs: what the server API orders, and the codes of its own that a gateway ends connections with."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.sdk import SdkClient, Variant
from tests.support.sdk_clients import Clients
from tests.support.sdk_network import Network, network
from tests.support.sdk_product import SdkProduct, token

TEXT, BINARY = 0x1, 0x2


@pytest.fixture
def net(sdk_product: SdkProduct) -> Iterator[Network]:
    """A network of this test's own, from the SDK to nginx."""
    with network(sdk_product.port) as made:
        yield made


def order(product: SdkProduct, method: str, **fields: Any) -> None:
    """Call the server API."""
    with product.client() as client:
        answer = client.post(f"/api/{method}", json=fields)
    assert "error" not in answer.json(), answer.text


def told(client: SdkClient, event: str, code: int) -> None:
    client.wait_for(lambda seen: seen["event"] == event and seen.get("code") == code, what=f"{event} {code}")


def test_sdk_is_subscribed_and_unsubscribed_by_the_server(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """A server-side subscription that comes and goes; the end of a client-side one is 2000, and stays."""
    pushed, own = f"kept:{name}", f"live:{name}"
    client = clients.connect(variant, name)
    client.subscribe(own)
    sdk_product.send(pushed, {"n": 1})
    order(sdk_product, "subscribe", user=name, channel=pushed)
    assert client.wait("subscribed", pushed)["position"]["offset"] == 1
    sdk_product.send(pushed, {"n": 2})
    client.wait_data(pushed, [{"n": 2}])
    order(sdk_product, "unsubscribe", user=name, channel=pushed)
    client.wait("unsubscribed", pushed)
    order(sdk_product, "unsubscribe", user=name, channel=own)
    assert client.wait("unsubscribed", own)["code"] == 2000


def test_sdk_recovers_what_the_server_subscribed_it_to(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """recover_since: what it missed comes behind the subscribe push."""
    channel = f"kept:{name}"
    client = clients.connect(variant, name)
    for number in range(1, 5):
        sdk_product.send(channel, {"n": number})
    epoch = client.call("history", channel=channel, limit=0)["epoch"]
    order(sdk_product, "subscribe", user=name, channel=channel, recover_since={"offset": 2, "epoch": epoch})
    client.wait("subscribed", channel)
    sdk_product.send(channel, {"n": 5})
    client.wait_data(channel, [{"n": 3}, {"n": 4}, {"n": 5}])


def test_sdk_is_disconnected_by_the_server(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """For good by default (3503) and from 4500 on; to come again at once by 3011; whoever is spared stays."""
    client, spared = clients.connect(variant, name), clients.connect(variant, name)
    order(sdk_product, "disconnect", user=name, whitelist=[spared.of("connected")[0]["id"]])
    assert client.wait("disconnected")["code"] == 3503
    order(sdk_product, "disconnect", user=name, disconnect={"code": 3011, "reason": "come again"})
    told(spared, "connecting", 3011)
    spared.wait("connected", count=2)
    order(sdk_product, "disconnect", user=name, disconnect={"code": 4501, "reason": "closed for today"})
    gone = spared.wait("disconnected")
    assert (gone["code"], gone["reason"]) == (4501, "closed for today")


def test_sdk_fetches_new_tokens_when_its_state_is_invalidated(
    clients: Clients, recent_variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """3014: the SDK drops what it kept, asks for another token, and comes again."""
    client = clients.connect(recent_variant, token=token(name), tokens=[token(name)])
    order(sdk_product, "disconnect", user=name, disconnect={"code": 3014, "reason": "state invalidated"})
    told(client, "connecting", 3014)
    client.wait("connected", count=2)
    assert len(client.of("token")) == 1


# Broken clients: the network between SDK and gateway puts in or drops what a broken client would


def masked(opcode: int, payload: bytes) -> bytes:
    """A WebSocket frame of a client."""
    mask = secrets.token_bytes(4)
    assert len(payload) < 126
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + bytes(a ^ mask[i % 4] for i, a in enumerate(payload))


def test_sdk_that_speaks_nonsense_is_told_3501(clients: Clients, socket_variant: Variant, net: Network) -> None:
    """A malformed frame, and a command that may come only once: terminal."""
    is_binary = socket_variant.transport == "protobuf"
    texts = (b'{"id":', b'{"id":99,"connect":{}}')
    binaries = (b"\x05\xff\xff\xff\xff\xff", b"\x04\x08\x63\x22\x00")
    for frame in binaries if is_binary else texts:
        client = clients.connect(socket_variant, url=net.url)
        client.call("rpc", method="sdk.whoami", data={})
        net.say(masked(BINARY if is_binary else TEXT, frame))
        assert client.wait("disconnected")["code"] == 3501


def test_sdk_that_speaks_another_form_is_told_3506(clients: Clients, socket_variant: Variant, net: Network) -> None:
    """A text frame where Protobuf was agreed on, and the other way."""
    client = clients.connect(socket_variant, url=net.url)
    client.call("rpc", method="sdk.whoami", data={})
    net.say(masked(TEXT if socket_variant.transport == "protobuf" else BINARY, b"{}"))
    assert client.wait("disconnected")["code"] == 3506


def test_sdks_that_do_not_answer_pings_are_told_3012(clients: Clients, variants: list[Variant], net: Network) -> None:
    """They are taken for gone, and come again; those that never say who they are go for good with 3502."""
    sockets = [each for each in variants if not each.is_emulated]
    silent = [clients.connect(each, url=net.url) for each in sockets]
    net.deafen()
    unknown = [clients.open(each, url=net.url) for each in sockets]
    for client in unknown:
        client.program.send({"client": client.name, "do": "connect"})  # whose answer may come with the connection
    for client in unknown:
        assert client.wait("disconnected")["code"] == 3502
    for client in silent:
        told(client, "connecting", 3012)
