"""Centrifugo's SDKs: subscribing, publishing, who is there."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.sdk import SdkError, Variant
from tests.support.sdk_clients import Clients
from tests.support.sdk_product import GRACE_S, SdkProduct, subscription_token, token
from tests.support.waiting import wait_until

VALUES: list[Any] = [
    {"text": "Grüße, 世界 👋", "empty": {}, "list": [], "deep": [[{"a": [None, True, 1.5]}]]},
    {"number": 2**53 - 1, "text": "line\nfeed \u0000\u2028 \"quotes\" \\ </script>"},
    {},
]  # fmt: skip


def test_sdk_receives_what_rest_publishes(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """Any JSON, in order, with offsets that grow by one; no author."""
    channel = f"kept:{name}"
    client = clients.connect(variant)
    client.subscribe(channel)
    for value in VALUES:
        sdk_product.send(channel, value)
    client.wait_data(channel, VALUES)
    seen = client.of("publication", channel)
    assert [each["offset"] for each in seen] == [1, 2, 3]
    assert not any(each.get("info") for each in seen)


@pytest.mark.parametrize("namespace", ["live", "kept"])
def test_sdk_receives_what_clients_publish(clients: Clients, variant: Variant, name: str, namespace: str) -> None:
    """Its own and another's, each with its author; a channel without history has no offsets."""
    channel = f"{namespace}:{name}"
    client = clients.open(variant, token=token("alice", info={"name": "Alice"}))
    id = client.connect()["id"]
    other = clients.connect(variant, "bob")
    client.subscribe(channel)
    other.subscribe(channel)
    for value in VALUES:
        client.call("publish", channel=channel, data=value)
    other.call("publish", channel=channel, data={"n": 4})
    for each in (client, other):
        each.wait_data(channel, [*VALUES, {"n": 4}])
    first, *_, last = other.of("publication", channel)
    assert (first["info"]["user"], first["info"]["client"]) == ("alice", id)
    assert first["info"]["conn_info"] == {"name": "Alice"}
    assert last["info"]["user"] == "bob"
    assert (first.get("offset") or 0, last.get("offset") or 0) == ((1, 4) if namespace == "kept" else (0, 0))


def test_sdk_publishes_without_subscribing(clients: Clients, variant: Variant, name: str) -> None:
    """In the order of the calls, however many are under way."""
    channel = f"live:{name}"
    listener, talker = clients.connect(variant), clients.connect(variant)
    listener.subscribe(channel)
    numbers = [
        talker.program.send({"client": talker.name, "do": "publish", "channel": channel, "data": {"n": n}})
        for n in range(20)
    ]
    for number in numbers:
        talker.program.answer(number, f"{talker}: publish")
    wait_until(lambda: len(listener.data(channel)) == 20, what="20 publications")
    seen = [data["n"] for data in listener.data(channel)]
    assert sorted(seen) == list(range(20))
    if not variant.is_emulated:  # there each command is a request of its own, and they may overtake each other
        assert seen == list(range(20))


def test_sdk_is_told_who_comes_and_goes(clients: Clients, variant: Variant, name: str) -> None:
    """Join and leave, with what the token says of the connection."""
    channel = f"kept:{name}"
    client = clients.connect(variant)
    client.subscribe(channel, join_leave=True)
    guest = clients.open(variant, token=token("guest", info={"name": "Guest"}))
    id = guest.connect()["id"]
    guest.subscribe(channel)
    told = {"user": "guest", "client": id, "conn_info": {"name": "Guest"}}
    joined = client.wait_for(lambda seen: seen["event"] == "join" and seen["info"]["client"] == id, what="join")
    assert joined["info"].items() >= told.items()
    guest.call("unsubscribe", channel=channel)
    assert client.wait("leave", channel)["info"].items() >= told.items()
    guest.call("resubscribe", channel=channel)
    guest.wait("subscribed", channel, count=2)
    guest.call("disconnect")
    assert client.wait("leave", channel, count=2)["info"]["client"] == id


def test_sdk_asks_who_is_there(clients: Clients, variant: Variant, name: str) -> None:
    """Three tabs of one user are three clients and one user; infos of the connection and of the subscription."""
    channel = f"closed:{name}"
    grants = {user: subscription_token(user, channel, info={"seat": user}) for user in ("anna", "ben")}
    ids = []
    for user in ("anna", "anna", "anna", "ben"):
        client = clients.open(variant, token=token(user, info={"name": user}))
        ids.append(client.connect()["id"])
        client.subscribe(channel, tokens=[grants[user]])
    with pytest.raises(SdkError) as refused:  # nobody but the server may ask in this namespace
        client.call("presence", channel=channel)
    assert refused.value.code == 103
    channel = f"kept:{name}"
    for user in ("anna", "anna", "anna", "ben"):
        client = clients.open(variant, token=token(user, info={"name": user}))
        ids.append(client.connect()["id"])
        client.subscribe(channel)
    found = client.call("presence", channel=channel)
    assert set(found) == set(ids[4:])
    assert {info["user"] for info in found.values()} == {"anna", "ben"}
    assert found[ids[-1]].items() >= {"user": "ben", "client": ids[-1], "conn_info": {"name": "ben"}}.items()
    assert client.call("presence_stats", channel=channel) == {"num_clients": 4, "num_users": 2}


def test_sdk_unsubscribes_and_subscribes_again(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """What came in between is not delivered late where nothing is recovered."""
    channel = f"live:{name}"
    client = clients.connect(variant)
    client.subscribe(channel)
    sdk_product.send(channel, {"n": 1})
    client.wait_data(channel, [{"n": 1}])
    client.call("unsubscribe", channel=channel)
    assert client.wait("unsubscribed", channel)["code"] == 0
    client.call("rpc", method="sdk.whoami", data={})  # behind the unsubscribe
    sdk_product.send(channel, {"n": 2})
    client.call("resubscribe", channel=channel)
    client.wait("subscribed", channel, count=2)
    sdk_product.send(channel, {"n": 3})
    client.wait_data(channel, [{"n": 1}, {"n": 3}])


def test_sdk_subscribes_to_many_channels_at_once(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """80 commands in few frames."""
    channels = [f"{namespace}:{name}-{n}" for n in range(40) for namespace in ("live", "kept")]
    client = clients.open(variant)
    for channel in channels:
        client.call("subscribe", channel=channel)
    client.connect()
    for channel in channels:
        client.wait("subscribed", channel)
    for channel in (channels[0], channels[-1]):
        sdk_product.send(channel, {"to": channel})
        client.wait_data(channel, [{"to": channel}])


def test_sdk_is_told_why_it_may_not_subscribe(clients: Clients, variant: Variant, name: str) -> None:
    """The error's code reaches the application; the connection and its other subscriptions live on."""
    client = clients.connect(variant)
    client.subscribe(f"live:{name}")
    for channel, code in {"nowhere:x": 102, "closed:x": 103, "#somebody-else": 103, "live:a b": 107}.items():
        client.call("subscribe", channel=channel)
        assert client.wait("unsubscribed", channel)["code"] == code, channel
    client.call("publish", channel=f"live:{name}", data={})
    client.wait_data(f"live:{name}", [{}])


REFUSED: list[tuple[int, dict[str, Any]]] = [
    (103, {"do": "publish", "channel": "closed:x", "data": {}}),
    (102, {"do": "publish", "channel": "nowhere:x", "data": {}}),
    (107, {"do": "publish", "channel": "live:x", "data": {"big": "x" * 66_000}}),
    (108, {"do": "presence", "channel": "live:x"}),
    (103, {"do": "presence_stats", "channel": "closed:x"}),
    (108, {"do": "history", "channel": "live:x", "limit": 1}),
    (103, {"do": "history", "channel": "asked:x", "limit": 1}),
    (104, {"do": "rpc", "method": "sdk.nothing", "data": {}}),
    (107, {"do": "rpc", "method": "sdk.add", "data": {"a": 1, "b": "two"}}),
    (103, {"do": "rpc", "method": "sdk.refuse", "data": {}}),
    (100, {"do": "rpc", "method": "sdk.defect", "data": {}}),
]


def test_sdk_is_told_why_a_call_fails(clients: Clients, variant: Variant) -> None:
    """The error's code reaches the application."""
    client = clients.connect(variant)
    for code, arguments in REFUSED:
        with pytest.raises(SdkError) as refused:
            client.call(**arguments)
        assert refused.value.code == code, arguments


def test_sdk_calls_functions(clients: Clients, variant: Variant) -> None:
    """An async one on the loop and a plain one in a thread; typed argument and result."""
    client = clients.connect(variant, "7")
    assert client.call("rpc", method="sdk.whoami", data={})["user"] == "7"
    assert client.call("rpc", method="sdk.add", data={"a": 2, "b": 40}) == 42


# Subscription tokens


def test_sdk_subscribes_by_a_token(clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct) -> None:
    """A channel that nobody may join else; expired: another one is asked for; of another user or channel: refused."""
    channel = f"closed:{name}"
    client = clients.connect(variant, name)
    expired = subscription_token(name, channel, ttl_s=-10)
    client.call("subscribe", channel=channel, tokens=[expired, subscription_token(name, channel)])
    client.wait_renewed(channel)
    assert len(client.of("token", channel)) == 2
    sdk_product.send(channel, {"n": 1})
    client.wait_data(channel, [{"n": 1}])
    for wrong in (subscription_token("other", channel), subscription_token(name, f"{channel}x"), token(name)):
        other = clients.connect(variant, name)
        other.call("subscribe", channel=channel, tokens=[wrong])
        assert other.wait("unsubscribed", channel)["code"] == 103


def test_sdks_refresh_a_subscriptions_token(
    clients: Clients, variants: list[Variant], name: str, sdk_product: SdkProduct
) -> None:
    """Before it ends, without subscribing anew; whose getToken fails is told 2501 and subscribes with a new one."""
    good, bad = f"closed:{name}", f"closed:{name}-late"
    short_s = 2
    all_of = [clients.connect(each, name + str(each)) for each in variants]
    for client in all_of:
        user = name + str(client.variant)
        for channel, between in ((good, []), (bad, [None])):
            first, last = (subscription_token(user, channel, ttl_s=ttl_s) for ttl_s in (short_s, 600))
            client.subscribe(channel, tokens=[first, *between, last])
    end = time.monotonic() + short_s + GRACE_S + 1
    for client in all_of:
        client.wait_for(
            lambda seen: (seen["event"], seen.get("channel"), seen.get("code")) == ("subscribing", bad, 2501),
            what="2501",
        )
        client.wait_renewed(bad, count=2)
    time.sleep(max(0.0, end - time.monotonic()))  # nothing may happen: that cannot be awaited
    sdk_product.send(good, {"n": 1})
    sdk_product.send(bad, {"n": 2})
    for client in all_of:
        client.wait_data(good, [{"n": 1}])
        client.wait_data(bad, [{"n": 2}])
        assert len(client.of("token", good)) == 2, str(client)
        assert len(client.of("subscribed", good)) == 1, str(client)


# Server-side subscriptions


def test_sdk_has_server_side_subscriptions(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """From the token's channels and subs, and the personal channel: no command of the client is needed."""
    listed, detailed, personal = f"live:{name}", f"kept:{name}", f"#{name}"
    subs = {detailed: {"info": {"seat": 1}, "data": {"hello": "you"}}}
    client = clients.open(variant, token=token(name, channels=[listed], subs=subs))
    client.connect()
    for channel in (listed, detailed, personal):
        assert client.wait("subscribed", channel)["server"]
        sdk_product.send(channel, {"to": channel})
    for channel in (listed, detailed, personal):
        client.wait_data(channel, [{"to": channel}])
    told = client.wait("subscribed", detailed)
    assert told["data"] == {"hello": "you"}
    assert told["recoverable"]
    assert told["position"]["offset"] == 0
    [info] = client.call("presence", channel=detailed).values()
    assert info["chan_info"] == {"seat": 1}


# Tags


def test_sdk_gets_what_its_filter_lets_through(
    clients: Clients, recent_variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """By tags; offsets have gaps, which is no loss."""
    channel = f"kept:{name}"
    client = clients.connect(recent_variant)
    nodes = [{"key": "kind", "cmp": "eq", "val": "goal"}, {"key": "minute", "cmp": "gte", "val": "45"}]
    client.subscribe(channel, filter={"op": "and", "nodes": nodes})
    for minute in range(0, 90, 15):
        for kind in ("goal", "foul"):
            sdk_product.send(channel, {"kind": kind, "minute": minute}, tags={"kind": kind, "minute": str(minute)})
    client.wait_data(channel, [{"kind": "goal", "minute": minute} for minute in (45, 60, 75)])
    assert [seen["offset"] for seen in client.of("publication", channel)] == [7, 9, 11]
    assert client.of("publication", channel)[0]["tags"] == {"kind": "goal", "minute": "45"}
