"""Centrifugo's SDKs: two gateways, of which one dies."""

from __future__ import annotations

import json
import signal
from contextlib import closing

import httpx

from tests.support.sdk import SdkClient, Variant
from tests.support.sdk_clients import Clients
from tests.support.sdk_flow import flow
from tests.support.sdk_product import SdkProduct, token
from tests.support.waiting import wait_until


def node_of(client: SdkClient) -> str:
    """The gateway that holds a client."""
    node: str = client.call("rpc", method="sdk.whoami", data={})["node"]
    return node


def nginx_sends_to(product: SdkProduct) -> str:
    """The gateway that nginx gives the next client: the one with the fewest, if it takes it for alive."""
    connect = {"id": 1, "connect": {"token": token("probe")}}
    with httpx.stream("POST", f"{product.url}/connection/http_stream", json=connect, trust_env=False) as answer:
        if answer.status_code != httpx.codes.OK:
            return ""
        with closing(answer.iter_lines()) as lines:
            node: str = json.loads(next(lines))["connect"]["node"]
        return node


def restart(product: SdkProduct, name: str, how: signal.Signals) -> None:
    """End a gateway and wait until nginx sends clients to it again."""
    old = product.kill(name, how)
    product.wait_restarted(name, old)
    wait_until(lambda: nginx_sends_to(product) == name, what=f"nginx sends clients to {name}")


def test_sdks_miss_nothing_when_gateways_end(
    clients: Clients, variants: list[Variant], name: str, sdk_product: SdkProduct
) -> None:
    """SIGKILL of each gateway, SIGTERM of each, in the middle of a flow: every publication once, in order."""
    own, listed = f"kept:{name}", f"kept:{name}-listed"
    all_of = [
        clients.connect(each, token=token(name + str(each), channels=[listed])) for each in variants for _ in range(4)
    ]
    for client in all_of:
        client.subscribe(own, delta="fossil")
    assert {node_of(client) for client in all_of} == {"gateway-1", "gateway-2"}
    with flow(sdk_product, own) as flowing, flow(sdk_product, listed) as flowing_listed:
        for how in (signal.SIGKILL, signal.SIGTERM):
            for gateway in ("gateway-1", "gateway-2"):
                flowing.wait_more(5)
                restart(sdk_product, gateway, how)
        flowing.wait_more(5)
    for client in all_of:
        client.wait_data(own, flowing.sent)
        client.wait_data(listed, flowing_listed.sent)
        for channel in (own, listed):
            again = client.of("subscribed", channel)[1:]
            assert again, str(client)
            assert all(each["recovered"] for each in again), str(client)
    codes = {seen["code"] for client in all_of for seen in client.of("connecting")}
    assert 3001 in codes  # a gateway that is asked to end says so
    assert not any(client.of("disconnected") for client in all_of)


def test_sdks_come_back_at_once_when_all_gateways_died(
    clients: Clients, variants: list[Variant], sdk_product: SdkProduct
) -> None:
    """As soon as there is a gateway nginx sends everybody to it, not now and then one."""
    # Over WebSockets alone: a connection that stays tells nginx nothing, short requests would.
    all_of = [clients.connect(each) for each in variants if not each.is_emulated for _ in range(6)]
    gateways = ("gateway-1", "gateway-2")
    old = [sdk_product.kill(gateway) for gateway in gateways]
    for gateway, pid in zip(gateways, old, strict=True):
        sdk_product.wait_restarted(gateway, pid)
    for client in all_of:
        client.wait("connected", count=2, deadline_s=12)  # of which a gateway's start takes 2 to 5


GONE_S = 10.0
"""The promise: longest that anything is seen of a gateway that was killed. 7 s are silence, then a survivor looks."""

LOADED_S = 3.0
"""What a loaded machine adds: one at a time the survivor's look, Redis, the push and the SDK have to get their turn."""


def test_a_killed_gateways_clients_leave(
    clients: Clients, variants: list[Variant], name: str, sdk_product: SdkProduct
) -> None:
    """Those who stay are told within 10 s, and see nobody who is gone."""
    channel = f"kept:{name}"
    gateways = sdk_product.dev["gateways"]
    stays = clients.connect(variants[0], url=gateways[0])
    stays.subscribe(channel, join_leave=True)
    gone = clients.connect(variants[0], name, url=gateways[1])
    id = gone.of("connected")[0]["id"]
    gone.subscribe(channel)
    assert set(stays.call("presence", channel=channel)) >= {id}
    old = sdk_product.kill("gateway-2")
    left = stays.wait_for(
        lambda seen: seen["event"] == "leave" and seen["info"]["client"] == id,
        what="leave",
        deadline_s=GONE_S + LOADED_S,
    )
    assert left["info"]["user"] == name
    assert id not in stays.call("presence", channel=channel)
    sdk_product.wait_restarted("gateway-2", old)
    wait_until(lambda: nginx_sends_to(sdk_product) == "gateway-2", what="nginx sends clients to gateway-2")
