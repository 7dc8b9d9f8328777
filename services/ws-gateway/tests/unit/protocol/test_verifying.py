"""ws_gateway.protocol.verifying: a command whose token's key is not here gets one answer, whatever comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from clarion.errors import ClarionError, KeysUnavailable, TokenInvalid
from clarion.tokens import KeyNotHere, subscription_token_make, token_make
from tests.support.protocol_session import SECRET, Driver
from ws_gateway.protocol.effects import Close, FetchKeys, Join
from ws_gateway.protocol.session import UNDER_WAY_MAX

CHANNEL = "closed:x"
AWAY = {"code": 100, "temporary": True}


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    """A session whose client has connected as alice; from here on no key is found."""
    driver = Driver()
    driver.connect("alice")
    lose_keys(driver, monkeypatch)
    return driver


def lose_keys(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def verify(_token: str) -> Any:
        raise KeyNotHere(keys=None, kid="k", alg="RS256")  # type: ignore[arg-type]  # nothing asks for it here

    for name in ("verify_connection", "verify_subscription"):
        monkeypatch.setattr(driver.rules.verifier, name, verify)


def fetched(driver: Driver, failure: ClarionError | None) -> list[dict[str, Any]]:
    """Answer the one fetch."""
    driver.session.keys_fetched(driver.effect(FetchKeys).command, failure, driver.now)
    return driver.said()


def error_of(said: list[dict[str, Any]]) -> dict[str, Any]:
    [reply] = said
    return {name: value for name, value in reply["error"].items() if name != "message"}


def closed(driver: Driver) -> int:
    code: int = driver.effect(Close).code
    return code


@pytest.mark.parametrize("failure", [None, TokenInvalid()])
def test_a_key_that_is_not_found_is_asked_for_once(driver: Driver, failure: ClarionError | None) -> None:
    """Error 103 of a subscription, 3500 of a connection; also if the fetch went well and the key is not there."""
    assert driver.send(subscribe={"channel": CHANNEL, "token": "t"}) == []
    assert error_of(fetched(driver, failure)) == {"code": 103}
    assert driver.send(refresh={"token": "t"}) == []
    assert fetched(driver, failure) == []
    assert closed(driver) == 3500
    assert driver.effects == []


@pytest.mark.parametrize("failure", [None, TokenInvalid(), KeysUnavailable()])
def test_a_connect_is_answered_whatever_becomes_of_its_key(
    monkeypatch: pytest.MonkeyPatch, failure: ClarionError | None
) -> None:
    """3500; or error 100, after which the client may try again."""
    driver = Driver()
    lose_keys(driver, monkeypatch)
    assert driver.send(connect={"token": "t"}) == []
    said = fetched(driver, failure)
    if isinstance(failure, KeysUnavailable):
        assert error_of(said) == AWAY
        monkeypatch.undo()
        assert "connect" in driver.connect("alice")[0]
    else:
        assert closed(driver) == 3500


def test_keys_that_cannot_be_fetched_are_a_temporary_error(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection, its subscriptions and the channel stay as they were."""
    for command in ({"subscribe": {"channel": CHANNEL, "token": "t"}}, {"refresh": {"token": "t"}}):
        assert driver.send(**command) == []
        assert error_of(fetched(driver, KeysUnavailable())) == AWAY
    monkeypatch.undo()
    driver.send(subscribe={"channel": CHANNEL, "token": subscription_token_make(SECRET, "alice", CHANNEL)[0]})
    assert "subscribe" in driver.joined()[0]
    lose_keys(driver, monkeypatch)
    assert driver.send(sub_refresh={"channel": CHANNEL, "token": "t"}) == []
    assert error_of(fetched(driver, KeysUnavailable())) == AWAY
    assert list(driver.session.subscriptions) == [CHANNEL]


def test_commands_behind_a_refused_subscribe_are_answered(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next token may ask for its own key."""
    driver.send(subscribe={"channel": CHANNEL, "token": "t"})
    assert driver.send(unsubscribe={"channel": CHANNEL}) == []
    assert driver.send(subscribe={"channel": CHANNEL, "token": "u"}) == []
    refused, unsubscribed = fetched(driver, TokenInvalid())
    assert (refused["error"]["code"], unsubscribed["unsubscribe"]) == (103, {})
    monkeypatch.undo()
    driver.session.keys_fetched(driver.effect(FetchKeys).command, None, driver.now)
    assert driver.said()[0]["error"]["code"] == 103  # "u" is no token


def test_an_unsubscribe_by_the_server_ends_with_the_refused_subscribe(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order was for that subscription: the next one stands."""
    driver.send(subscribe={"channel": "open:x", "token": "t"})
    driver.session.unsubscribe_by_server("open:x")
    assert error_of(fetched(driver, TokenInvalid())) == {"code": 103}
    driver.send(subscribe={"channel": "open:x"})
    [reply] = driver.joined()
    assert "subscribe" in reply
    assert "open:x" in driver.session.subscriptions


def test_an_unsubscribe_by_the_server_holds_for_a_subscribe_that_waits_for_its_key(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ended as soon as it stands."""
    token, _ = subscription_token_make(SECRET, "alice", CHANNEL)
    driver.send(subscribe={"channel": CHANNEL, "token": token})
    driver.session.unsubscribe_by_server(CHANNEL)
    monkeypatch.undo()
    assert fetched(driver, None) == []
    assert [*driver.joined()[1]["push"]] == ["channel", "unsubscribe"]
    assert not [effect for effect in driver.effects if type(effect) is Join]


def test_tokens_that_wait_for_their_keys_are_bounded(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Error 111 beyond what may be under way; once answered, there is room again."""
    for _ in range(UNDER_WAY_MAX):
        assert driver.send(refresh={"token": "t"}) == []
    assert error_of(driver.send(refresh={"token": "t"})) == {"code": 111, "temporary": True}
    fetches = [effect for effect in driver.effects if type(effect) is FetchKeys]
    assert len(fetches) == UNDER_WAY_MAX
    monkeypatch.undo()
    good = driver.send(refresh={"token": token_make(SECRET, "alice")[0]})
    assert "refresh" in good[0]
    for fetch in fetches:
        driver.session.keys_fetched(fetch.command, KeysUnavailable(), driver.now)
    assert driver.session.is_closed  # "t" is no token: 3500
