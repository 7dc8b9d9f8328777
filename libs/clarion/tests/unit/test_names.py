"""clarion.names: what a channel and a user may be called."""

from __future__ import annotations

import pytest

from clarion.errors import NameInvalid
from clarion.names import (
    channel_check,
    consumer_channel_check,
    namespace_of,
    personal_channel,
    personal_user,
    redis_group,
    redis_idempotency,
    redis_meta,
    redis_stream,
    user_id_check,
)

ALLOWED = {chr(code) for code in range(33, 127)} - set('/\\"%?*')


@pytest.mark.parametrize("char", [chr(code) for code in range(256)] + ["\u20ac", "\U0001f600", "\ud800"])
def test_channel_check_allows_printable_ascii_without_the_forbidden(char: str) -> None:
    """A channel holds printable ASCII, no space and none of / \\ " % ? *."""
    name = f"a{char}b"
    if char in ALLOWED:
        assert channel_check(name) == name
    else:
        with pytest.raises(NameInvalid, match=r"position 1"):
            channel_check(name)


@pytest.mark.parametrize(("name", "ok"), [("", False), ("a", True), ("a" * 200, True), ("a" * 201, False)])
def test_channel_check_allows_1_to_200_characters(name: str, ok: bool) -> None:
    """A channel's name has 1 to 200 characters."""
    if ok:
        assert channel_check(name) == name
    else:
        with pytest.raises(NameInvalid, match="1 to 200 characters"):
            channel_check(name)


@pytest.mark.parametrize("name", [None, 7, b"chat:x", ["chat:x"]])
def test_channel_check_refuses_what_is_no_text(name: object) -> None:
    """Both Channels' callers (TypeError) and Python's (ValueError) see their own kind of error."""
    with pytest.raises(TypeError):
        channel_check(name)
    with pytest.raises(ValueError, match="is text"):
        channel_check(name)


@pytest.mark.parametrize("name", ["#", "#a,b", "##", "#a#b", "#" + "a" * 129])
def test_channel_check_refuses_a_personal_channel_of_no_user(name: str) -> None:
    """What follows a leading # is a user id."""
    with pytest.raises(NameInvalid):
        channel_check(name)


def test_channel_check_does_not_stop_at_a_newline() -> None:
    """A trailing newline is a bad character too ($ in a regular expression would let it pass)."""
    with pytest.raises(NameInvalid):
        channel_check("chat:x\n")


@pytest.mark.parametrize("user", ["1", "a" * 128, "auth0|6f", "x@y.z"])
def test_user_id_check_allows_opaque_ids(user: str) -> None:
    """A user id is the caller's own string."""
    assert user_id_check(user) == user


@pytest.mark.parametrize("user", ["", "a" * 129, "a,b", "a#b", "a b", "a/b", 1, None])
def test_user_id_check_refuses_the_rest(user: object) -> None:
    """1 to 128 characters, none of them , or #."""
    with pytest.raises(NameInvalid):
        user_id_check(user)


@pytest.mark.parametrize(
    ("channel", "namespace"),
    [("chat:x", "chat"), ("chat:x:y", "chat"), ("plain", None), ("#1", None), ("#a:b", None), (":x", "")],
)
def test_namespace_of_is_what_stands_before_the_first_colon(channel: str, namespace: str | None) -> None:
    """A personal channel is in no namespace, whatever its user is called."""
    assert namespace_of(channel) == namespace


def test_personal_channel_and_user_are_inverse() -> None:
    """#<user id> is that user's channel; others are nobody's."""
    assert personal_channel("42") == "#42"
    assert personal_user("#42") == "42"
    assert personal_user("chat:42") is None
    with pytest.raises(NameInvalid):
        personal_channel("a,b")


def test_redis_group_is_the_stock_layers_name() -> None:
    """The stock pub/sub layer and we mean the same Redis channel."""
    assert redis_group("asgi", "chat:x") == "asgi__group__chat:x"


def test_consumer_channel_check_allows_one_consumers_own_channel() -> None:
    """What a layer's new_channel() makes under this prefix."""
    name = f"t.1specific.{'0a' * 16}"
    assert consumer_channel_check("t.1", name) == name


@pytest.mark.parametrize(
    "name",
    [
        f"asgi__group__specific.{'0' * 32}",
        f"asgi__group__xspecific.{'0' * 32}",
        "asgi__group__news:x",
        f"otherspecific.{'0' * 32}",
        f"asgispecific.{'0' * 31}",
        f"asgispecific.{'0' * 33}",
        f"asgispecific.{'A' * 32}",
        f"asgispecificx{'0' * 32}",
        f"asgispecific.{'0' * 32}\n",
        f" asgispecific.{'0' * 32}",
        "asgi.lab-tasks",
        "",
        None,
        7,
    ],
)
def test_consumer_channel_check_refuses_every_other_address(name: object) -> None:
    """A group, a channel of services, another deployment's: a client must not reach them by naming them."""
    with pytest.raises(NameInvalid):
        consumer_channel_check("asgi", name)


def test_redis_names_of_two_channels_never_meet() -> None:
    """Every name starts with the layer's prefix; a channel that looks like another one and a key is no trap."""
    assert redis_meta("asgi", "chat:x") == "asgi__meta__chat:x"
    assert redis_stream("asgi", "chat:x") == "asgi__stream__chat:x"
    assert redis_idempotency("asgi", "a__b", "c") != redis_idempotency("asgi", "a", "b__c")
    assert redis_idempotency("asgi", "a", "b/c") == "asgi__idem__a/b/c"
    with pytest.raises(NameInvalid):
        channel_check("a/b")
