"""ws_gateway.protocol.session: which answer each command gets, and which code each fault."""

from __future__ import annotations

import time
from typing import Any

import pytest

from clarion.errors import ChannelLayerUnavailable
from clarion.tokens import KeyNotHere, SubscriptionToken, subscription_token_make, token_make
from tests.support.protocol_session import SECRET, Driver, config_of, token_of
from ws_gateway.protocol.codec import JSON_CODEC
from ws_gateway.protocol.effects import (
    Call,
    Close,
    FetchKeys,
    Identify,
    Join,
    Leave,
    Publish,
    ReadHistory,
    ReadPresence,
)
from ws_gateway.protocol.replies import ClientInfo, HistoryResult, SubscribeResult
from ws_gateway.protocol.session import UNDER_WAY_MAX, WAITING_BYTES_MAX


@pytest.fixture
def driver() -> Driver:
    """A session whose client has connected as alice."""
    driver = Driver()
    driver.connect("alice")
    return driver


def code_of(said: list[dict[str, Any]]) -> int:
    """The code of the one error reply."""
    [reply] = said
    code: int = reply["error"]["code"]
    return code


def close_of(driver: Driver) -> int:
    """The code that the session closed with."""
    code: int = driver.effect(Close).code
    assert driver.session.is_closed
    return code


# Connect


def test_connect_says_who_and_how_long() -> None:
    """Client id, ping interval and the token's time to live; zero values are left out."""
    [reply] = Driver().connect("alice", ttl_s=600)
    assert reply["id"] == 1
    connect = reply["connect"]
    assert connect.pop("ttl") in (599, 600)
    assert connect == {"client": "client-1", "version": "clarion test", "expires": True, "ping": 25, "pong": True}


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("x.y.z", 3500),
        (token_make("another secret of thirty-two chars", "alice")[0], 3500),
        (token_make(SECRET, "alice", ttl_s=-60)[0], 109),
    ],
)
def test_connect_with_a_bad_token_is_refused(token: str, code: int) -> None:
    """A wrong one closes for good; an expired one is error 109, and the client may try another."""
    driver = Driver()
    said = driver.send(connect={"token": token})
    if code == 109:
        assert code_of(said) == 109
        assert "connect" in driver.connect()[0]
    else:
        assert (said, close_of(driver)) == ([], code)


def test_connect_without_credentials_is_unauthorized() -> None:
    """Error 101; the connection stays until it is stale."""
    driver = Driver()
    assert code_of(driver.send(connect={})) == 101
    assert not driver.session.is_closed


def test_connect_with_a_session_cookie_asks_whose_it_is() -> None:
    """The user of the cookie; nobody's is unauthorized; one that cannot be read closes, and the client comes back."""
    for user, expected in (("7", "connect"), ("", "error")):
        driver = Driver(may_use_cookie=True, has_origin=True)
        driver.send(connect={})
        driver.session.identified(driver.effect(Identify).command, user, driver.now)
        [reply] = driver.said()
        assert expected in reply
        assert driver.session.user == user
    driver = Driver(may_use_cookie=True, has_origin=True)
    driver.send(connect={})
    driver.session.identified(driver.effect(Identify).command, None, driver.now)
    assert (driver.said(), close_of(driver)) == ([], 3004)


def test_connect_token_comes_before_the_cookie() -> None:
    """A bad token is refused even with a good cookie."""
    driver = Driver(may_use_cookie=True, has_origin=True)
    assert driver.send(connect={"token": "x.y.z"}) == []
    assert close_of(driver) == 3500


def test_connect_anonymous_needs_the_option_and_an_origin() -> None:
    """``allow_anonymous_connect_without_token``; no Origin at all only with a token."""
    config = config_of({"allow_anonymous_connect_without_token": True})
    assert "connect" in Driver(config, has_origin=True).send(connect={})[0]
    assert code_of(Driver(config).send(connect={})) == 101
    assert "connect" in Driver(config_of({"insecure": True})).send(connect={})[0]


def test_connect_twice_is_a_bad_request(driver: Driver) -> None:
    """Connect is first and once."""
    driver.connect()
    assert close_of(driver) == 3501


@pytest.mark.parametrize("method", ["subscribe", "publish", "presence", "history", "rpc", "refresh", "send", "ping"])
def test_any_command_before_connect_is_a_bad_request(method: str) -> None:
    """Connect is first and once."""
    driver = Driver()
    assert driver.send(**{method: {}}) == []
    assert close_of(driver) == 3501


def test_connections_of_a_user_are_limited() -> None:
    """3504, for good; anonymous clients are not one user."""
    driver = Driver(config_of({"user_connection_limit": 2}))
    driver.users["alice"] = 2
    driver.connect("alice")
    assert close_of(driver) == 3504
    assert "connect" in Driver(config_of({"user_connection_limit": 2})).connect("alice")[0]


# Server-side subscriptions


def test_server_side_subscriptions_are_made_before_the_reply() -> None:
    """Those of the token and the personal channel; the client's positions are taken from its connect."""
    driver = Driver(config_of({"subscribe_to_user_personal_channel": {"enabled": True}}))
    token, _ = token_make(SECRET, "alice", channels=("kept:a", "closed:b"))
    said = driver.send(connect={"token": token, "subs": {"kept:a": {"recover": True, "offset": 7, "epoch": "e"}}})
    assert said == []
    joins = {effect.channel: effect for effect in driver.effects if isinstance(effect, Join)}
    assert set(joins) == {"kept:a", "closed:b", "#alice"}
    assert (joins["kept:a"].since, joins["kept:a"].epoch) == (7, "e")
    for join in joins.values():
        driver.session.joined(join, SubscribeResult(epoch="e", offset=9), driver.now)
    [reply] = driver.said()
    assert set(reply["connect"]["subs"]) == set(joins)
    assert reply["connect"]["subs"]["kept:a"]["offset"] == 9


@pytest.mark.parametrize(("channel", "code"), [("nope:x", 102), ("#bob", 103)])
def test_server_side_subscriptions_are_checked_before_the_first_is_made(channel: str, code: int) -> None:
    """Another user's personal channel, an undefined namespace: the connect is refused, and leaves nothing behind."""
    driver = Driver()
    assert code_of(driver.connect("alice", channels=("kept:a", channel))) == code
    assert driver.effects == []
    assert "connect" in driver.connect("alice")[0]
    driver = Driver(config_of({"subscribe_to_user_personal_channel": {"enabled": True}}), may_use_cookie=True)
    driver.send(connect={})
    driver.session.identified(driver.effect(Identify).command, "bad user", driver.now)
    assert code_of(driver.said()) == 107


def test_server_side_subscriptions_over_the_channel_limit_close() -> None:
    """3505, for good."""
    driver = Driver(config_of({"channel_limit": 2}))
    driver.connect("alice", channels=("kept:a", "kept:b", "kept:c"))
    assert close_of(driver) == 3505


def test_commands_that_come_with_the_connect_wait_for_its_answer() -> None:
    """They are answered after the connect, in their order."""
    driver = Driver()
    assert driver.connect("alice", channels=("kept:a",)) == []
    assert driver.send(subscribe={"channel": "open:x"}) == []
    driver.session.joined(driver.effect(Join), SubscribeResult(), driver.now)
    [connected] = driver.said()
    assert "connect" in connected
    [subscribed] = driver.joined()
    assert (subscribed["id"], "subscribe" in subscribed) == (2, True)


def test_commands_wait_for_a_connect_whose_session_is_being_read() -> None:
    """They are the signed-in user's, not an anonymous one's; without a user there is nobody whose they could be."""
    for user in ("7", ""):
        driver = Driver(may_use_cookie=True, has_origin=True)
        driver.send(connect={})
        assert driver.send(subscribe={"channel": "open:x"}) == []
        driver.session.identified(driver.effect(Identify).command, user, driver.now)
        [answer] = driver.said()
        if user:
            assert "connect" in answer
            [subscribed] = driver.joined()
            assert (subscribed["id"], "subscribe" in subscribed) == (2, True)
        else:
            assert (answer["error"]["code"], close_of(driver)) == (101, 3501)


def test_a_refused_connect_may_be_repeated() -> None:
    """With another token: the SDK fetches one after error 109."""
    driver = Driver()
    assert code_of(driver.connect("alice", ttl_s=-10)) == 109
    [connected] = driver.connect("alice")
    assert "connect" in connected
    assert code_of(driver.send(subscribe={"channel": "closed:x"})) == 103


def test_connections_that_come_at_once_are_limited_too() -> None:
    """Each was the first when it came; the second to be answered is one too many."""
    driver = Driver(config_of({"user_connection_limit": 1}))
    driver.connect("alice", channels=("kept:a",))
    driver.users["alice"] = 1
    assert driver.joined() == []
    assert close_of(driver) == 3504


def test_a_server_side_subscription_that_fails_closes() -> None:
    """3004: the client comes back for all of them."""
    driver = Driver()
    driver.connect("alice", channels=("kept:a",))
    driver.session.join_failed(driver.effect(Join), ChannelLayerUnavailable(), driver.now)
    assert (driver.said(), close_of(driver)) == ([], 3004)


# Subscribe


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"channel": "nope:x"}, 102),
        ({"channel": "x"}, 102),
        ({"channel": "closed:x"}, 103),
        ({"channel": "#bob"}, 103),
        ({"channel": "open:x", "token": "x.y.z"}, 103),
        ({"channel": ""}, 107),
        ({"channel": "a b"}, 107),
        ({"channel": "x" * 201}, 107),
        ({"channel": "open:x", "tf": {"key": "a", "cmp": "eq", "val": "1"}}, 108),
    ],
)
def test_subscribe_is_refused_with_its_code(driver: Driver, request_: dict[str, Any], code: int) -> None:
    """The connection stays, and nothing is joined."""
    assert code_of(driver.send(subscribe=request_)) == code
    assert (driver.effects, driver.session.is_closed) == ([], False)


def test_subscribe_twice_is_refused(driver: Driver) -> None:
    """Error 105, also while the first one is under way."""
    driver.send(subscribe={"channel": "open:x"})
    assert driver.send(subscribe={"channel": "open:x"}) == []
    first, second = driver.joined()
    assert ("subscribe" in first, second["error"]["code"]) == (True, 105)


def test_subscribe_over_the_channel_limit_is_refused() -> None:
    """Error 106; those under way count."""
    driver = Driver(config_of({"channel_limit": 2}))
    driver.connect()
    driver.send(subscribe={"channel": "open:1"})
    driver.send(subscribe={"channel": "open:2"})
    assert code_of(driver.send(subscribe={"channel": "open:3"})) == 106


def test_subscribe_with_a_token_opens_a_closed_channel(driver: Driver) -> None:
    """The token is for this user and this channel; its expiry is the subscription's."""
    token, _ = subscription_token_make(SECRET, "alice", "closed:x", ttl_s=60)
    driver.send(subscribe={"channel": "closed:x", "token": token})
    [reply] = driver.joined()
    assert reply["subscribe"]["expires"] is True
    assert reply["subscribe"]["ttl"] in (59, 60)
    for user, channel in (("bob", "closed:y"), ("alice", "closed:z")):
        token, _ = subscription_token_make(SECRET, user, channel)
        assert code_of(driver.send(subscribe={"channel": "closed:y", "token": token})) == 103
    token, _ = subscription_token_make(SECRET, "alice", "closed:y", ttl_s=-60)
    assert code_of(driver.send(subscribe={"channel": "closed:y", "token": token})) == 109


def test_subscribe_recovers_where_the_channel_is_recoverable(driver: Driver) -> None:
    """The position goes to the driver; where nothing can be recovered it is passed over."""
    driver.send(subscribe={"channel": "kept:x", "recover": True, "offset": 3, "epoch": "e"})
    assert driver.effect(Join).since == 3
    driver.send(subscribe={"channel": "open:x", "recover": True, "offset": 3, "epoch": "e"})
    assert driver.effect(Join).since is None


def test_subscribe_hears_joins_only_with_a_right_to_see_the_presence(driver: Driver) -> None:
    """And only if it asks for them."""
    for channel, asks, hears in (("kept:1", True, True), ("kept:2", False, False), ("open:1", True, False)):
        driver.send(subscribe={"channel": channel, "join_leave": asks})
        assert driver.effect(Join).subscription.hears_joins is hears


def test_commands_on_a_channel_wait_for_its_subscribe(driver: Driver) -> None:
    """An unsubscribe that overtakes nothing, a publish of a subscriber; other channels go on."""
    driver.send(subscribe={"channel": "kept:x"})
    assert driver.send(presence={"channel": "kept:x"}) == []
    assert driver.send(unsubscribe={"channel": "kept:x"}) == []
    assert driver.send(unsubscribe={"channel": "open:x"}) == [{"id": 5, "unsubscribe": {}}]
    assert [set(reply) for reply in driver.joined()] == [{"id", "subscribe"}, {"id", "unsubscribe"}]
    assert driver.effect(ReadPresence).channel == "kept:x"
    assert driver.effect(Leave).channel == "kept:x"


def test_commands_on_a_channel_wait_for_its_tokens_key(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unsubscribe would else be answered before the subscribe that it ends, which then stood."""
    verify = driver.rules.verifier.verify_subscription

    def verify_later(_token: str) -> SubscriptionToken:
        raise KeyNotHere(keys=None, kid="k", alg="RS256")  # type: ignore[arg-type]  # nothing asks for it here

    monkeypatch.setattr(driver.rules.verifier, "verify_subscription", verify_later)
    token, _ = subscription_token_make(SECRET, "alice", "closed:x")
    assert driver.send(subscribe={"channel": "closed:x", "token": token}) == []
    fetch = driver.effect(FetchKeys)
    assert driver.send(unsubscribe={"channel": "closed:x"}) == []
    monkeypatch.setattr(driver.rules.verifier, "verify_subscription", verify)
    driver.session.keys_fetched(fetch.command, None, driver.now)
    assert driver.said() == []
    assert ["subscribe" in driver.joined()[0], driver.session.subscriptions] == [True, {}]


def test_a_subscribe_that_redis_fails_may_be_repeated(driver: Driver) -> None:
    """Error 100, temporary; the channel is free again."""
    driver.send(subscribe={"channel": "open:x"})
    driver.session.join_failed(driver.effect(Join), ChannelLayerUnavailable(), driver.now)
    [reply] = driver.said()
    assert (reply["error"]["code"], reply["error"]["temporary"]) == (100, True)
    driver.send(subscribe={"channel": "open:x"})
    assert "subscribe" in driver.joined()[0]


def test_a_subscription_tokens_data_is_in_the_result(driver: Driver) -> None:
    """Any JSON value, for the client alone."""
    for number, data in enumerate(({"role": "speaker", "e": [{}, []]}, 0, "", [], False)):
        channel = f"closed:{number}"
        token = token_of(sub="alice", channel=channel, data=data)
        driver.send(subscribe={"channel": channel, "token": token})
        assert driver.joined()[0]["subscribe"]["data"] == data


# The other commands


def test_publish_is_checked_then_done(driver: Driver) -> None:
    """Permission, name, data and size; the reply comes when it has been sent."""
    assert driver.send(publish={"channel": "open:x", "data": {"a": [1]}}) == []
    effect = driver.effect(Publish)
    assert (effect.channel, effect.data) == ("open:x", {"a": [1]})
    driver.session.published(effect, None)
    assert driver.said() == [{"id": 2, "publish": {}}]
    assert code_of(driver.send(publish={"channel": "closed:x", "data": 1})) == 103
    assert code_of(driver.send(publish={"channel": "nope:x", "data": 1})) == 102
    assert code_of(driver.send(publish={"channel": "open:x"})) == 107
    assert code_of(driver.send(publish={"channel": "open:x", "data": "x" * 65_536})) == 107
    assert code_of(driver.send(publish={"channel": "open:x", "data": 2**64})) == 107


def test_history_is_bounded_and_checks_the_epoch(driver: Driver) -> None:
    """-1 and too much become the configured limit; another epoch is error 112; no history is 108."""
    driver.send(subscribe={"channel": "kept:x"})
    driver.joined()
    for limit, wanted in ((0, 0), (5, 5), (-1, 300), (10_000, 300)):
        driver.send(history={"channel": "kept:x", "limit": limit})
        assert driver.effect(ReadHistory).limit == wanted
    driver.send(history={"channel": "kept:x", "limit": 1, "since": {"offset": 1, "epoch": "old"}})
    driver.session.history_read(driver.effect(ReadHistory), HistoryResult(epoch="new", offset=4))
    assert code_of(driver.said()) == 112
    assert code_of(driver.send(history={"channel": "open:x"})) == 108
    assert code_of(driver.send(history={"channel": "kept:other"})) == 103


def test_history_is_paged_one_page_after_the_other(driver: Driver) -> None:
    """A second page of a channel before the first is answered is error 113, temporary."""
    driver.send(subscribe={"channel": "kept:x"})
    driver.joined()
    page = {"channel": "kept:x", "limit": 1, "since": {"offset": 1, "epoch": "e"}}
    assert driver.send(history=page) == []
    [reply] = driver.send(history=page)
    assert (reply["error"]["code"], reply["error"]["temporary"]) == (113, True)
    driver.session.history_read(driver.effect(ReadHistory), HistoryResult(epoch="e", offset=4))
    assert driver.said()[0]["history"] == {"epoch": "e", "offset": 4}
    assert driver.send(history=page) == []


def test_presence_says_who_is_there(driver: Driver) -> None:
    """Infos by client id, or the numbers."""
    driver.send(subscribe={"channel": "kept:x"})
    driver.joined()
    driver.send(presence={"channel": "kept:x"})
    driver.session.presence_read(driver.effect(ReadPresence), {"c": ClientInfo(user="u", client="c")})
    assert driver.said() == [{"id": 3, "presence": {"presence": {"c": {"user": "u", "client": "c"}}}}]
    driver.send(presence_stats={"channel": "kept:x"})
    driver.session.presence_read(driver.effect(ReadPresence), (3, 1))
    assert driver.said() == [{"id": 4, "presence_stats": {"num_clients": 3, "num_users": 1}}]
    assert code_of(driver.send(presence={"channel": "open:x"})) == 108
    assert code_of(driver.send(presence_stats={"channel": "kept:other"})) == 103


def test_a_tokens_meta_is_the_applications(driver: Driver) -> None:
    """It is kept for rpc, a refresh brings a new one, and others do not see it."""
    driver = Driver()
    driver.send(connect={"token": token_of(sub="alice", meta={"role": "admin"})})
    assert driver.session.meta == {"role": "admin"}
    assert "meta" not in driver.session.client_info()
    driver.send(refresh={"token": token_of(sub="alice")})
    assert driver.session.meta is None


def test_rpc_calls_what_is_registered(driver: Driver) -> None:
    """An unknown method is error 104."""
    driver.send(rpc={"method": "echo", "data": {"a": 1}})
    effect = driver.effect(Call)
    assert (effect.method, effect.data) == ("echo", b'{"a":1}')
    driver.session.called(effect, b'{"b":2}')
    assert driver.said() == [{"id": 2, "rpc": {"data": {"b": 2}}}]
    assert code_of(driver.send(rpc={"method": "nope"})) == 104


def test_refresh_takes_only_the_same_users_token(driver: Driver) -> None:
    """Another user's is error 103, an expired one 109, a wrong one closes."""
    [reply] = driver.send(refresh={"token": token_make(SECRET, "alice", ttl_s=300)[0]})
    assert reply["refresh"]["ttl"] in (299, 300)
    assert code_of(driver.send(refresh={"token": token_make(SECRET, "bob")[0]})) == 103
    assert code_of(driver.send(refresh={"token": token_make(SECRET, "alice", ttl_s=-60)[0]})) == 109
    driver.send(refresh={"token": "x"})
    assert close_of(driver) == 3500


def test_unknown_and_malformed_commands_get_their_code(driver: Driver) -> None:
    """No method is 104; several at once, too; a command without an id closes, a pong is nothing."""
    assert code_of(driver.send(dance={})) == 104
    assert code_of(driver.send(ping={}, rpc={"method": "echo"})) == 104
    assert driver.raw({}) == []
    assert driver.raw({"send": {"data": 1}}) == []
    driver.raw({"ping": {}})
    assert close_of(driver) == 3501


# Time


def test_a_client_that_says_nothing_is_stale() -> None:
    """3502 after ten seconds, not before."""
    driver = Driver()
    driver.after(9.9)
    assert driver.effects == []
    driver.after(0.2)
    assert close_of(driver) == 3502


def test_a_client_that_does_not_pong_is_closed(driver: Driver) -> None:
    """3012, eight seconds after the ping; any frame of the client's counts as life."""
    assert driver.after(25.1, pongs=False) == [{}]
    driver.raw({})
    assert driver.after(24.8, pongs=False) == []
    assert driver.after(0.4, pongs=False) == [{}]
    driver.after(8.1, pongs=False)
    assert close_of(driver) == 3012


def test_a_client_that_takes_a_large_reply_is_not_pinged(driver: Driver) -> None:
    """Neither a ping nor the wait for its pong; afterwards as ever."""
    assert driver.after(25.1, pongs=False) == [{}]
    for _ in range(10):
        driver.now += 5
        driver.session.postpone_ping(driver.now)
        driver.session.tick(driver.now)
        assert driver.said() == []
    assert driver.after(25.1, pongs=False) == [{}]


def test_a_connection_past_its_token_is_closed() -> None:
    """3005 after a grace; a refresh in the grace saves it."""
    driver = Driver()
    driver.connect("alice", ttl_s=10)
    driver.after(24)
    assert not driver.session.is_closed
    driver.send(refresh={"token": token_make(SECRET, "alice", ttl_s=10)[0]})
    driver.after(30)
    assert not driver.session.is_closed
    driver.after(6)
    assert close_of(driver) == 3005


def test_a_subscription_past_its_token_ends(driver: Driver) -> None:
    """Unsubscribe 2501 after a grace; a sub_refresh in the grace saves it; the connection stays."""
    token, _ = subscription_token_make(SECRET, "alice", "closed:x", ttl_s=5)
    driver.send(subscribe={"channel": "closed:x", "token": token})
    driver.joined()
    driver.after(20)
    token, _ = subscription_token_make(SECRET, "alice", "closed:x", ttl_s=5)
    assert driver.send(sub_refresh={"channel": "closed:x", "token": token})[0]["sub_refresh"]["expires"] is True
    said = [*driver.after(15), *driver.after(20)]
    ended = [reply["push"] for reply in said if "push" in reply]
    assert ended == [{"channel": "closed:x", "unsubscribe": {"code": 2501, "reason": "expired"}}]
    assert driver.effect(Leave).channel == "closed:x"
    assert not driver.session.is_closed


# Limits, and the end


def test_commands_per_second_are_limited() -> None:
    """Error 111 first, 3013 for who goes on; the allowance comes back."""
    config = config_of(limits={"commands_per_s": 10, "commands_burst": 20})
    driver = Driver(config)
    driver.connect()
    codes = [reply.get("error", {}).get("code") for _ in range(30) for reply in driver.send(ping={})]
    assert codes == [None] * 19 + [111] * 11
    driver.now += 2
    assert driver.send(ping={})[0]["ping"] == {}
    for _ in range(100):
        driver.send(ping={})
    assert close_of(driver) == 3013


def test_pongs_count_as_commands() -> None:
    """They get no error, having no id: 3013 behind the fiftieth over the limit, and error 111 to a command before."""
    driver = Driver(config_of(limits={"commands_per_s": 10, "commands_burst": 20}))
    driver.connect()
    assert [driver.raw({}) for _ in range(19 + 49)] == [[]] * 68
    assert code_of(driver.send(ping={})) == 111
    assert not driver.session.is_closed
    driver.raw({})
    assert close_of(driver) == 3013


def test_who_answers_pings_is_no_flooder() -> None:
    """Of the smallest allowance an hour of pongs leaves what a command needs."""
    driver = Driver(config_of(limits={"commands_per_s": 1, "commands_burst": 1}))
    driver.connect(ttl_s=4_000)
    driver.after(3_600)
    driver.now += 1
    assert driver.send(ping={})[0]["ping"] == {}


def test_commands_under_way_are_limited(driver: Driver) -> None:
    """64 wait; the next gets error 111, temporary."""
    for _ in range(64):
        assert driver.send(rpc={"method": "echo"}) == []
    [reply] = driver.send(rpc={"method": "echo"})
    assert (reply["error"]["code"], reply["error"]["temporary"]) == (111, True)


def test_too_many_errors_in_a_row_close(driver: Driver) -> None:
    """3509 at the hundredth; a good reply starts the count anew."""
    for _ in range(99):
        driver.send(subscribe={"channel": "nope:x"})
    driver.send(ping={})
    for _ in range(99):
        driver.send(subscribe={"channel": "nope:x"})
    assert not driver.session.is_closed
    driver.send(subscribe={"channel": "nope:x"})
    assert close_of(driver) == 3509


def test_a_lost_position_is_told(driver: Driver) -> None:
    """Unsubscribe 2500 for the client's own subscription, 3010 for a server-side one."""
    driver.send(subscribe={"channel": "kept:x"})
    driver.joined()
    driver.session.position_lost("kept:x")
    assert driver.said() == [
        {"push": {"channel": "kept:x", "unsubscribe": {"code": 2500, "reason": "insufficient state"}}}
    ]
    driver = Driver()
    driver.connect("alice", channels=("kept:x",))
    driver.joined()
    driver.session.position_lost("kept:x")
    assert (driver.said(), close_of(driver)) == ([], 3010)


def test_a_lost_connection_leaves_everything(driver: Driver) -> None:
    """Every channel is left; results that come later are for nobody."""
    for channel in ("open:x", "kept:y"):
        driver.send(subscribe={"channel": channel})
        driver.joined()
    driver.send(rpc={"method": "echo"})
    call = driver.effect(Call)
    driver.session.closed()
    driver.said()
    assert {effect.channel for effect in driver.effects if isinstance(effect, Leave)} == {"open:x", "kept:y"}
    driver.session.called(call, b"1")
    driver.session.tick(driver.now + 100)
    assert driver.send(ping={}) == []


def test_the_clock_of_tokens_is_the_wall(driver: Driver) -> None:
    """A session's own clock may start anywhere."""
    driver.now += 1e6
    token, expires_at = token_make(SECRET, "alice", ttl_s=100)
    assert expires_at - time.time() > 98
    assert driver.send(refresh={"token": token})[0]["refresh"]["ttl"] in (99, 100)


# What waits


def test_commands_that_wait_are_bounded_together(driver: Driver) -> None:
    """Sixty-four over all channels whose subscribe is under way, and none out of a large frame: error 111."""
    channels = ["kept:a", "kept:b"]
    for channel in channels:
        assert driver.send(subscribe={"channel": channel, "recover": True}) == []
    said = [driver.send(history={"channel": channels[number % 2], "limit": 1}) for number in range(70)]
    assert said[:UNDER_WAY_MAX] == [[]] * UNDER_WAY_MAX
    assert [code_of(each) for each in said[UNDER_WAY_MAX:]] == [111] * 6


def test_large_frames_do_not_wait(driver: Driver) -> None:
    """Their commands get error 111 where they would have to; else they are done."""
    driver.send(subscribe={"channel": "kept:a", "recover": True})
    for size, waits in [(WAITING_BYTES_MAX, True), (WAITING_BYTES_MAX + 1, False)]:
        [command] = JSON_CODEC.commands(b'{"id":77,"history":{"channel":"kept:a","limit":1}}')
        driver.session.command(command, driver.now, size)
        said = driver.said()
        assert said == [] if waits else code_of(said) == 111
    [command] = JSON_CODEC.commands(b'{"id":78,"ping":{}}')
    driver.session.command(command, driver.now, WAITING_BYTES_MAX + 1)
    assert [reply["id"] for reply in driver.said()] == [78]
