"""clarion.permissions: who may do what on a channel, and why."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from clarion.errors import ClarionError, NameInvalid, NamespaceUnknown, NotAvailable, PermissionRefused
from clarion.namespaces import ClarionConfig, config_parse
from clarion.permissions import Decision, may_history, may_joins, may_presence, may_publish, may_subscribe

HISTORY = {"history_size": 10, "history_ttl": "60s"}
EVERYTHING = {**HISTORY, "presence": True, "join_leave": True}
COMMANDS: dict[str, Callable[..., Decision]] = {
    "publish": may_publish,
    "history": may_history,
    "presence": may_presence,
}


def of(client: dict[str, Any] | None = None, **options: Any) -> ClarionConfig:
    namespace = {"name": "chat", **options}
    return config_parse({"client": client or {}, "channel": {"namespaces": [namespace], "without_namespace": options}})


@pytest.mark.parametrize("channel", ["chat:x", "plain"])
@pytest.mark.parametrize(("client", "anonymous", "user"), list(product([False, True], [False, True], ["7", ""])))
def test_may_subscribe_by_the_options(channel: str, client: bool, anonymous: bool, user: str) -> None:
    """for_client opens it to user ids, and with for_anonymous to those without; for_anonymous alone opens nothing."""
    config = of(allow_subscribe_for_client=client, allow_subscribe_for_anonymous=anonymous)
    decision = may_subscribe(config, channel, user)
    assert decision.allowed is (client and (user != "" or anonymous))
    assert decision.error is (None if decision.allowed else PermissionRefused)
    assert may_subscribe(config, channel, user, granted=True).allowed


@pytest.mark.parametrize("what", list(COMMANDS))
@pytest.mark.parametrize(
    ("client", "subscriber", "anonymous", "user", "is_subscribed"),
    list(product([False, True], [False, True], [False, True], ["7", ""], [False, True])),
)
def test_may_do_by_the_options(
    what: str, client: bool, subscriber: bool, anonymous: bool, user: str, is_subscribed: bool
) -> None:
    """for_client at any time, for_subscriber while subscribed, each for user ids, with for_anonymous for all."""
    options = {f"allow_{what}_for_client": client, f"allow_{what}_for_subscriber": subscriber}
    config = of(**EVERYTHING, **options, **{f"allow_{what}_for_anonymous": anonymous})
    decision = COMMANDS[what](config, "chat:x", user, is_subscribed=is_subscribed)
    assert decision.allowed is ((client or (subscriber and is_subscribed)) and (user != "" or anonymous))
    assert decision.error is (None if decision.allowed else PermissionRefused)
    assert f"allow_{what}_for_" in decision.reason


@pytest.mark.parametrize(("what", "needs"), [("history", HISTORY), ("presence", {"presence": True})])
def test_what_is_not_switched_on_is_not_available(what: str, needs: dict[str, Any]) -> None:
    """108 comes before 103, as in Centrifugo; also with client.insecure."""
    for client in ({}, {"insecure": True}):
        options = {f"allow_{what}_for_client": True}
        assert COMMANDS[what](of(client, **options), "chat:x", "7").error is NotAvailable
        assert COMMANDS[what](of(client, **options, **needs), "chat:x", "7").allowed
    assert may_joins(of(presence=True, allow_presence_for_client=True), "chat:x", "7").error is NotAvailable


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({}, False), ({"allow_presence_for_subscriber": True}, True), ({"allow_presence_for_client": True}, True),
        ({"force_push_join_leave": True}, True),
    ],
)  # fmt: skip
def test_may_joins_by_the_rights_of_the_presence(options: dict[str, Any], allowed: bool) -> None:
    """Who may see who is there may see them come and go, whether or not the presence itself is kept."""
    assert may_joins(of(join_leave=True, **options), "chat:x", "7").allowed is allowed


@pytest.mark.parametrize("what", [may_subscribe, may_publish, may_history, may_presence, may_joins])
def test_a_channel_that_does_not_exist_is_refused_first(what: Callable[..., Decision]) -> None:
    """102 for a namespace that is not defined, 107 for a name, whoever asks; also with client.insecure."""
    for client in ({}, {"insecure": True}):
        config = of(client, channel_regex="^[a-z]+$", **EVERYTHING)
        for channel, error in (("nope:x", NamespaceUnknown), ("a b", NameInvalid), ("", NameInvalid),
                               ("chat:X", NameInvalid), ("x" * 201, NameInvalid), ("##", NameInvalid)):  # fmt: skip
            decision = what(config, channel, "7")
            assert decision.error is error
            with pytest.raises(error):
                decision.check()


@pytest.mark.parametrize("user", ["7", "8", ""])
def test_a_personal_channel_is_its_users_alone(user: str) -> None:
    """For every right, whatever options and tokens say."""
    rights = {f"allow_{what}_for_{who}": True for what in COMMANDS for who in ("client", "anonymous")}
    opened = {"allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True}
    config = config_parse({"channel": {"personal": {**EVERYTHING, **rights, **opened}}})
    is_owner = user == "7"
    assert may_subscribe(config, "#7", user).allowed is is_owner
    assert may_subscribe(config, "#7", user, granted=True).allowed is is_owner
    assert may_joins(config, "#7", user).allowed is is_owner
    for may in COMMANDS.values():
        assert may(config, "#7", user).allowed is is_owner
        assert may(config, "#7", user, is_subscribed=True).allowed is is_owner


def test_a_personal_channel_can_be_read_by_its_user_without_configuration() -> None:
    """Subscribe and history; nothing else is open."""
    config = ClarionConfig()
    assert may_subscribe(config, "#7", "7").allowed
    assert may_history(config, "#7", "7", is_subscribed=True).allowed
    assert not may_publish(config, "#7", "7", is_subscribed=True).allowed
    assert may_presence(config, "#7", "7", is_subscribed=True).error is NotAvailable
    assert not may_subscribe(config, "#7:8", "7").allowed


@pytest.mark.parametrize(
    ("channel", "user", "allowed"),
    [
        ("chat:x#1,2", "1", True), ("chat:x#1,2", "2", True), ("chat:x#1,2", "3", False), ("chat:x#1,2", "", False),
        ("chat:x#1,2", "1,2", False), ("chat:x#", "1", False), ("chat:x#", "", False), ("chat:x#,", "", False),
        ("chat:x#1#2", "2", True), ("chat:x#1#2", "1", False), ("plain#1", "1", True), ("plain#1", "2", False),
    ],
)  # fmt: skip
def test_a_user_limited_channel_is_for_the_listed(channel: str, user: str, allowed: bool) -> None:
    """What follows the last # lists them; for_client does not open it to others, and none is needed for them."""
    for client in (False, True):
        config = of(allow_user_limited_channels=True, allow_subscribe_for_client=client)
        assert may_subscribe(config, channel, user).allowed is allowed
    assert may_subscribe(config, channel, user, granted=True).allowed
    assert may_subscribe(config, "chat:x", "3").allowed


def test_others_have_no_right_in_a_user_limited_channel() -> None:
    """Unless a token subscribed them: then they are subscribers like others."""
    config = of(
        allow_user_limited_channels=True, allow_publish_for_client=True, allow_history_for_client=True, **HISTORY
    )
    for may in (may_publish, may_history):
        assert may(config, "chat:x#1,2", "1").allowed
        assert not may(config, "chat:x#1,2", "3").allowed
        assert may(config, "chat:x#1,2", "3", is_subscribed=True).allowed


def test_without_the_option_a_hash_is_a_character_like_any_other() -> None:
    """allow_user_limited_channels is off unless set."""
    assert may_subscribe(of(allow_subscribe_for_client=True), "chat:x#1,2", "3").allowed
    assert not may_subscribe(of(), "chat:x#1,2", "1").allowed


@pytest.mark.parametrize("user", ["7", ""])
def test_insecure_lets_anyone_do_anything(user: str) -> None:
    """On any channel that exists, of others too."""
    config = of({"insecure": True}, allow_user_limited_channels=True, **EVERYTHING)
    for channel in ("chat:x", "plain", "chat:x#1", "#9"):
        assert may_subscribe(config, channel, user).allowed
        assert may_publish(config, channel, user).allowed
        assert may_history(config, channel, user).allowed
    assert may_presence(config, "chat:x", user).allowed
    assert may_joins(config, "chat:x", user).allowed


def test_a_refusal_tells_the_client_no_option() -> None:
    """The reason is for logs; the text for clients says what was refused."""
    decision = may_subscribe(of(), "chat:x", "7")
    assert "allow_subscribe_for_client" in decision.reason
    with pytest.raises(ClarionError) as caught:
        decision.check()
    assert caught.value.detail == "this user may not subscribe to this channel"
    assert may_subscribe(of(allow_subscribe_for_client=True), "chat:x", "7").check() is None  # type: ignore[func-returns-value]
