"""ws_gateway.access: who may join a plain room, and what they may do there."""

from __future__ import annotations

import pytest

from clarion.errors import NameInvalid, NamespaceUnknown, PermissionRefused, Unauthorized
from clarion.namespaces import config_parse
from ws_gateway.access import Identity, origin_check, room_admit

HISTORY = {"history_size": 10, "history_ttl": "60s", "allow_subscribe_for_client": True}
CONFIG = config_parse(
    {
        "channel": {
            "namespaces": [
                {"name": "chat", "allow_subscribe_for_client": True, "allow_publish_for_client": True},
                {"name": "news", "allow_subscribe_for_client": True, "allow_subscribe_for_anonymous": True},
                {"name": "closed"},
                {"name": "recorded", **HISTORY},
                {"name": "forced", **HISTORY, "force_recovery": True},
                {"name": "allowed", **HISTORY, "allow_recovery": True},
                {"name": "read", **HISTORY, "allow_history_for_subscriber": True},
            ]
        }
    }
)
SIGNED_IN = Identity(user="7")
TOKEN = Identity(user="7", has_token=True, grants=("closed:x", "#8"))
ANONYMOUS_TOKEN = Identity(user="", has_token=True)


@pytest.mark.parametrize(
    ("channel", "identity", "may_publish"),
    [
        ("chat:x", SIGNED_IN, True), ("chat:x", TOKEN, True), ("news:x", Identity(), False),
        ("news:x", SIGNED_IN, False), ("closed:x", TOKEN, False), ("#7", SIGNED_IN, False), ("#7", TOKEN, False),
    ],
)  # fmt: skip
def test_room_admit_lets_in_who_may(channel: str, identity: Identity, may_publish: bool) -> None:
    """By the namespace's options, by a token's grant, or as the owner of a personal channel."""
    admission = room_admit(CONFIG, channel, identity)
    assert (admission.channel, admission.user, admission.may_publish) == (channel, identity.user, may_publish)


@pytest.mark.parametrize(
    ("channel", "identity", "error"),
    [
        ("a b", SIGNED_IN, NameInvalid), ("", SIGNED_IN, NameInvalid), ("chat:x/y", SIGNED_IN, NameInvalid),
        ("nope:x", TOKEN, NamespaceUnknown), ("plain", TOKEN, NamespaceUnknown),
        ("chat:x", Identity(), Unauthorized), ("closed:x", Identity(), Unauthorized), ("#7", Identity(), Unauthorized),
        ("closed:x", SIGNED_IN, PermissionRefused), ("chat:x", ANONYMOUS_TOKEN, PermissionRefused),
        ("#7", ANONYMOUS_TOKEN, PermissionRefused), ("#9", TOKEN, PermissionRefused),
        ("#8", TOKEN, PermissionRefused),  # whatever the token grants: a personal channel is for that user alone
    ],
)  # fmt: skip
def test_room_admit_refuses_the_rest(channel: str, identity: Identity, error: type[Exception]) -> None:
    """Each refusal is of the kind that its close code needs: 4400, 4401, 4403, 4404."""
    with pytest.raises(error) as caught:
        room_admit(CONFIG, channel, identity)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("channel", "may_recover"),
    [
        ("forced:x", True), ("allowed:x", True), ("read:x", True), ("#7", True),
        ("recorded:x", False),  # kept for services alone: a room must not be the way around
        ("chat:x", False),
    ],
)  # fmt: skip
def test_room_admit_lets_recover_who_could_by_the_protocol(channel: str, may_recover: bool) -> None:
    """By force_recovery, allow_recovery or the right to the history; without a history there is nothing."""
    assert room_admit(CONFIG, channel, SIGNED_IN).may_recover == may_recover


@pytest.mark.parametrize("channel", ["chat:x", "closed:x"])
def test_room_admit_of_an_insecure_gateway_lets_anyone_join_and_publish(channel: str) -> None:
    """client.insecure, in development; what is not defined does not exist all the same."""
    config = CONFIG.model_copy(update={"client": CONFIG.client.model_copy(update={"insecure": True})})
    assert room_admit(config, channel, Identity()).may_publish
    with pytest.raises(NamespaceUnknown):
        room_admit(config, "nope:x", Identity())


def test_room_admit_does_not_ask_how_anonymous_clients_connect() -> None:
    """client.allow_anonymous_connect_without_token is for /connection: a room is open by its namespace alone."""
    update = {"allow_anonymous_connect_without_token": True}
    config = CONFIG.model_copy(update={"client": CONFIG.client.model_copy(update=update)})
    with pytest.raises(Unauthorized):
        room_admit(config, "chat:x", Identity())
    room_admit(CONFIG, "news:x", Identity())


@pytest.mark.parametrize("origin", ["https://app.example", "HTTPS://App.Example"])
def test_origin_check_allows_the_listed(origin: str) -> None:
    """Scheme and host are compared without regard to case."""
    origin_check(origin, frozenset({"https://app.example"}), has_token=False, has_cookie=True)


@pytest.mark.parametrize(
    "origin",
    ["https://app.example:8443", "http://app.example", "https://app.example.evil", "null", "", "https://app.example/"],
)
@pytest.mark.parametrize("has_token", [True, False])
def test_origin_check_refuses_any_other(origin: str, has_token: bool) -> None:
    """An exact list: a token does not open it to a foreign page."""
    with pytest.raises(PermissionRefused):
        origin_check(origin, frozenset({"https://app.example"}), has_token=has_token, has_cookie=True)


def test_origin_check_of_an_insecure_gateway_asks_programs_for_nothing() -> None:
    """client.insecure: no Origin and no token; a foreign page stays out, as on /connection."""
    for has_cookie in (True, False):
        origin_check(None, frozenset(), has_token=False, has_cookie=has_cookie, insecure=True)
    with pytest.raises(PermissionRefused):
        origin_check("https://evil.example", frozenset(), has_token=False, has_cookie=False, insecure=True)


def test_origin_check_needs_a_token_where_there_is_no_origin() -> None:
    """Programs send none; a cookie alone must not let them in, since any page could make a browser send it."""
    origin_check(None, frozenset(), has_token=True, has_cookie=True)
    with pytest.raises(PermissionRefused):
        origin_check(None, frozenset(), has_token=False, has_cookie=True)
    with pytest.raises(Unauthorized):
        origin_check(None, frozenset(), has_token=False, has_cookie=False)
