"""Centrifugo's SDKs: connecting, tokens, and why a connection ends."""

from __future__ import annotations

import time

import pytest

from tests.support.sdk import SdkError, Variant
from tests.support.sdk_clients import Clients
from tests.support.sdk_product import CONNECTIONS_PER_USER, GRACE_S, PING_INTERVAL_S, SdkProduct, token
from tests.support.waiting import wait_until


def test_sdk_connects_as_who_its_token_says(clients: Clients, variant: Variant, name: str) -> None:
    """The token's user and info are the connection's, its meta the application's."""
    client = clients.open(variant, token=token(name, info={"role": "admin"}, meta={"plan": ["pro"]}))
    connected = client.connect()
    said = client.call("rpc", method="sdk.whoami", data={})
    assert (said["user"], said["info"], said["client"]) == (name, {"role": "admin"}, connected["id"])
    assert said["meta"] == {"plan": ["pro"]}


def test_sdk_fetches_its_first_token(clients: Clients, variant: Variant, name: str) -> None:
    """Without a token getToken is asked for one."""
    client = clients.connect(variant, tokens=[token(name)])
    assert len(client.of("token")) == 1


@pytest.mark.parametrize("bad", ["nonsense", token("7")[:-4] + "AAAA"], ids=["no-jwt", "forged"])
def test_sdk_with_a_bad_token_stops_with_3500(clients: Clients, variant: Variant, bad: str) -> None:
    """It is terminal: the SDK neither retries nor asks for another token."""
    client = clients.open(variant, token=bad, tokens=[token("7")])
    client.call("connect")
    assert client.wait("disconnected")["code"] == 3500
    assert not client.of("token")


def test_sdk_with_an_expired_token_fetches_a_new_one(clients: Clients, variant: Variant, name: str) -> None:
    """Error 109 at the connect: getToken, then connected."""
    client = clients.connect(variant, token=token(name, ttl_s=-10), tokens=[token(name)])
    assert len(client.of("token")) == 1
    assert client.call("rpc", method="sdk.whoami", data={})["user"] == name


def test_sdk_over_the_users_connections_stops_with_3504(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """One more than a user may have on one gateway."""
    gateway = sdk_product.dev["gateways"][0]  # the limit is a process's
    for _ in range(CONNECTIONS_PER_USER):
        clients.connect(variant, name, url=gateway)
    late = clients.open(variant, name, url=gateway)
    late.call("connect")
    assert late.wait("disconnected")["code"] == 3504


def test_sdk_over_the_channels_limit_stops_with_3505(clients: Clients, variant: Variant, name: str) -> None:
    """A token with more server-side subscriptions than a connection may have."""
    many = [f"live:{name}-{number}" for number in range(130)]
    client = clients.open(variant, token=token(name, channels=many))
    client.call("connect")
    assert client.wait("disconnected")["code"] == 3505


def test_sdks_refresh_their_token_before_it_ends(clients: Clients, variants: list[Variant], name: str) -> None:
    """By getToken, without a reconnect, past the end of the first token and its grace."""
    short = 3.0
    all_of = [
        clients.connect(each, tokens=[token(name + str(each), ttl_s=short), token(name + str(each))])
        for each in variants
    ]
    end = time.monotonic() + short + GRACE_S + 1
    for client in all_of:
        client.wait("token", count=2)
    time.sleep(max(0.0, end - time.monotonic()))  # nothing may happen: that cannot be awaited
    for client in all_of:
        client.call("rpc", method="sdk.whoami", data={})
        assert len(client.of("connected")) == 1, str(client)
        assert len(client.of("token")) == 2, str(client)


def test_sdks_that_get_no_token_in_time_are_told_3005(clients: Clients, variants: list[Variant], name: str) -> None:
    """The token ended and so did its grace: disconnected, and connected again once there is a new one."""
    all_of = [
        clients.connect(each, token=token(name + str(each), ttl_s=2), tokens=[None, token(name + str(each))])
        for each in variants
    ]
    for client in all_of:
        client.wait_for(lambda seen: seen["event"] == "connecting" and seen["code"] == 3005, what="3005")
        client.wait("connected", count=2)


def test_sdks_stay_connected_by_pings(clients: Clients, variants: list[Variant]) -> None:
    """An idle client lives on for more than two intervals: it hears pings, and its pongs are heard."""
    all_of = [clients.connect(each) for each in variants]
    time.sleep(2 * PING_INTERVAL_S + 3)  # longer than an SDK waits for a ping, and the gateway for a pong
    for client in all_of:
        client.call("rpc", method="sdk.whoami", data={})
        assert [seen["event"] for seen in client.of("connecting")] == ["connecting"], str(client)


def test_sdk_that_asks_too_much_is_told_so(clients: Clients, variant: Variant, name: str) -> None:
    """Error 111 first; who goes on all the same is disconnected with 3013 and comes back."""
    client = clients.connect(variant, name)
    numbers = [
        client.program.send({"client": client.name, "do": "rpc", "method": "sdk.whoami", "data": {}})
        for _ in range(600)
    ]
    codes = set()
    for number in numbers:
        try:
            client.program.answer(number, f"{client}: rpc")
        except SdkError as exc:
            codes.add(exc.code)
    assert 111 in codes
    client.wait_for(lambda seen: seen["event"] == "connecting" and seen["code"] == 3013, what="3013")
    wait_until(lambda: len(client.of("connected")) >= 2, what="connected again")
