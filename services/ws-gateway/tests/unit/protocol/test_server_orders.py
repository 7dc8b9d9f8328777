"""ws_gateway.protocol.session: what the server API does to a connection, and what the client is told."""

from __future__ import annotations

import time

import pytest
from msgspec import Raw

from clarion.codes import UnsubscribeCode
from clarion.errors import ChannelLayerUnavailable, NamespaceUnknown
from clarion.tokens import SubsOptions
from tests.support.protocol_session import Driver
from ws_gateway.protocol.commands import StreamPosition
from ws_gateway.protocol.effects import Close, Deliver, Join, Leave
from ws_gateway.protocol.replies import SubscribeResult

UNSUBSCRIBED = {"code": int(UnsubscribeCode.SERVER), "reason": "server"}


@pytest.fixture
def driver() -> Driver:
    """A session whose client has connected as alice."""
    driver = Driver()
    driver.connect("alice")
    return driver


def order_subscribe(driver: Driver, channel: str, *, since: StreamPosition | None = None) -> None:
    """Subscribe the connection as the server API does."""
    options = SubsOptions(info={"seat": 1}, data={"hi": []})
    driver.session.subscribe_by_server(channel, options, since=since, expires_at=0, now=driver.now)


def test_subscribe_by_server_tells_the_client_with_its_data(driver: Driver) -> None:
    """The push holds position and data; the info is what others see of the client."""
    order_subscribe(driver, "kept:x")
    assert driver.said() == []
    said = driver.joined(SubscribeResult(offset=7, epoch="e"))
    told = {"recoverable": True, "epoch": "e", "offset": 7, "positioned": True, "data": {"hi": []}}
    assert said == [{"push": {"channel": "kept:x", "subscribe": told}}]
    assert driver.session.client_info(driver.session.subscriptions["kept:x"])["chan_info"] == {"seat": 1}


def test_subscribe_by_server_delivers_what_was_recovered(driver: Driver) -> None:
    """Recovered publications follow the subscribe push."""
    order_subscribe(driver, "kept:x", since=StreamPosition(5, "e"))
    join = driver.session.take()[0]
    assert isinstance(join, Join)
    assert (join.since, join.epoch) == (5, "e")
    missed = [Raw(b'{"data":1,"offset":6}'), Raw(b'{"data":2,"offset":7}')]
    driver.session.joined(join, SubscribeResult(offset=7, epoch="e", publications=missed), driver.now)
    [said] = driver.said()
    assert "subscribe" in said["push"]
    assert driver.effect(Deliver) == Deliver("kept:x", missed)


def test_subscribe_by_server_leaves_a_subscription_as_it_is(driver: Driver) -> None:
    """Whoever is subscribed, or is about to be, is not subscribed again."""
    driver.send(subscribe={"channel": "open:x"})
    order_subscribe(driver, "open:x")
    driver.joined()
    order_subscribe(driver, "open:x")
    assert driver.said() == []
    assert not [effect for effect in driver.effects if type(effect) is Join]
    assert not driver.session.subscriptions["open:x"].is_server_side


def test_subscribe_by_server_refuses_an_unknown_namespace(driver: Driver) -> None:
    """The gateway's own configuration decides."""
    with pytest.raises(NamespaceUnknown):
        order_subscribe(driver, "nosuch:x")


def test_unsubscribe_by_server_ends_one_subscription(driver: Driver) -> None:
    """Code 2000 tells the client to stay away; the others stay."""
    for channel in ("open:x", "open:y"):
        driver.send(subscribe={"channel": channel})
        driver.joined()
    driver.session.unsubscribe_by_server("open:x")
    assert driver.said() == [{"push": {"channel": "open:x", "unsubscribe": UNSUBSCRIBED}}]
    assert driver.effect(Leave).channel == "open:x"
    assert [*driver.session.subscriptions] == ["open:y"]
    driver.session.unsubscribe_by_server("open:x")
    assert driver.said() == []


def test_unsubscribe_by_server_without_a_channel_ends_all(driver: Driver) -> None:
    """Those that stand and those that are under way."""
    for channel in ("open:x", "open:y"):
        driver.send(subscribe={"channel": channel})
        driver.joined()
    driver.send(subscribe={"channel": "open:z"})
    driver.session.unsubscribe_by_server("")
    assert {said["push"]["channel"] for said in driver.said()} == {"open:x", "open:y"}
    driver.joined()
    assert driver.session.subscriptions == {}


@pytest.mark.parametrize("by_server", [False, True])
def test_unsubscribe_by_server_catches_a_subscribe_under_way(driver: Driver, *, by_server: bool) -> None:
    """A subscribe that waits for Redis is answered and ended: an order is not lost because it came too early."""
    if by_server:
        order_subscribe(driver, "open:x")
    else:
        driver.send(subscribe={"channel": "open:x"})
    driver.session.unsubscribe_by_server("open:x")
    assert driver.said() == []
    said = driver.joined()
    assert said[-1] == {"push": {"channel": "open:x", "unsubscribe": UNSUBSCRIBED}}
    assert driver.effect(Leave).channel == "open:x"
    assert driver.session.subscriptions == {}
    driver.send(subscribe={"channel": "open:x"})
    driver.joined()
    assert [*driver.session.subscriptions] == ["open:x"], "the order was for the one before"


def test_unsubscribe_by_server_is_forgotten_when_the_subscribe_fails(driver: Driver) -> None:
    """What never stood needs no end: the client's next subscribe is its own."""
    driver.send(subscribe={"channel": "open:x"})
    driver.session.unsubscribe_by_server("open:x")
    driver.session.join_failed(driver.effect(Join), ChannelLayerUnavailable(), driver.now)
    driver.send(subscribe={"channel": "open:x"})
    driver.joined()
    assert [*driver.session.subscriptions] == ["open:x"]


def test_the_last_order_for_a_channel_counts(driver: Driver) -> None:
    """Subscribe, unsubscribe, subscribe, while the first waits for Redis: the client is subscribed."""
    order_subscribe(driver, "open:x")
    driver.session.unsubscribe_by_server("open:x")
    order_subscribe(driver, "open:x")
    driver.said()
    driver.joined()
    assert [*driver.session.subscriptions] == ["open:x"]


def test_refresh_by_server_tells_the_client_and_holds(driver: Driver) -> None:
    """The push says how long; past it and the grace the connection is closed with 3005, unless refreshed for good."""
    driver.session.refresh_by_server(expires_at=int(time.time()) + 50, info={"a": 1}, now=driver.now)
    [said] = driver.said()
    refresh = said["push"]["refresh"]
    assert refresh["expires"]
    assert 48 <= refresh["ttl"] <= 50
    assert driver.session.client_info()["conn_info"] == {"a": 1}
    driver.session.refresh_by_server(expires_at=0, info=None, now=driver.now)
    assert driver.said() == [{"push": {"refresh": {}}}]
    driver.after(100)
    assert not driver.session.is_closed
    driver.session.refresh_by_server(expires_at=int(time.time()) + 50, info=None, now=driver.now)
    driver.after(100)
    assert driver.effect(Close).code == 3005
