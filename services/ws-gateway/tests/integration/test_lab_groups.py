"""The lessons "Group" and "Who am I" on a real Redis."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from channels.layers import get_channel_layer
from pytest_django import Settings

from tests.support.databases import (  # noqa: F401 - fixtures
    Database,
    sqlite_database,
    sqlite_template,
)
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until_async

from .lab_client import TIMEOUT_S, Open, lab_opened, sign_in, use_layer

BOTH = pytest.mark.parametrize("path", ["group/", "group/sync/"])
MANY = ["group/", "group/sync/", "whoami/"]


@pytest.fixture
async def lab(settings: Settings, shared_redis_url: str, layer_prefix: str) -> AsyncIterator[Open]:
    use_layer(settings, shared_redis_url, layer_prefix)
    async with lab_opened() as opened:
        yield opened


@BOTH
async def test_group_sends_to_every_member(lab: Open, path: str) -> None:
    """The sender too, each once and in order; async and sync members are in the one group."""
    members = [await lab(path), await lab("group/"), await lab("group/sync/")]
    for number in range(3):
        await members[0].say(f"{number} <b>")
    for member in members:
        assert [await member.next() for _ in range(3)] == [
            {"msg": f"{number} <b>", "node": "gateway-1"} for number in range(3)
        ]
        assert await member.silent()


@BOTH
async def test_group_is_left_on_disconnect(lab: Open, path: str) -> None:
    """Who left hears nothing, is in no group of the process, and the others go on."""
    leaver, stayer = await lab(path), await lab("group/")
    await leaver.leave()
    await stayer.say("still here")
    assert (await stayer.next())["msg"] == "still here"
    assert leaver.output_queue.empty()
    layer = get_channel_layer()
    assert [len(members) for members in layer.groups.values()] == [1]
    await stayer.leave()
    assert (layer.groups, layer.channels) == ({}, {})


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nonsense", "json_malformed"),
        ("[1]", "data_invalid"),
        ('{"msg": 1}', "data_invalid"),
        ('{"msg": "\\u0000"}', "data_invalid"),
        ('{"msg": "\\ud800"}', "data_invalid"),
        (json.dumps({"msg": "x" * 4_097}), "message_too_large"),
        (None, "data_invalid"),
    ],
)
@BOTH
async def test_group_answers_a_bad_message_and_goes_on(lab: Open, path: str, text: str | None, code: str) -> None:
    """The sender alone is told; the socket stays."""
    member, other = await lab(path), await lab("group/")
    await member.raw(text, None if text else b"binary")
    assert await member.error_code() == code
    await member.say("ä" * 4_096)
    assert (await member.next())["msg"] == (await other.next())["msg"] == "ä" * 4_096


async def test_member_that_raised_leaves_the_group(lab: Open) -> None:
    """A message that a member cannot take ends that member alone; no ``disconnect`` is called, and none is needed."""
    member, other = await lab("group/"), await lab("whoami/")
    await get_channel_layer().group_send("programmers", {"type": "chat.message"})  # no "msg": KeyError
    with pytest.raises(KeyError):
        await member.wait(TIMEOUT_S)
    layer = get_channel_layer()
    assert not any("programmers" in group for group in layer.groups)
    assert not other.future.done()


async def test_redis_that_goes_is_told_and_the_socket_lives(settings: Settings, redis_server: RedisServer) -> None:
    """An error frame while it is away; when it is back the same sockets send and receive."""
    use_layer(settings, redis_server.url, "asgi")
    async with lab_opened() as opened:
        clients = {path: await opened(path) for path in ("group/", "group/sync/", "direct/", "worker/")}
        for path in ("direct/", "worker/"):
            assert (await clients[path].next())["channel_name"]
        redis_server.stop()
        for client in clients.values():
            await client.say("anyone?")
            assert await client.error_code() == "layer_unavailable"
        redis_server.start()
        for path in ("group/", "group/sync/", "direct/"):
            await clients[path].back("back")
        await clients["worker/"].leave()


async def test_redis_that_is_away_at_the_handshake_is_told(settings: Settings) -> None:
    """Accepted, told, and closed with 1013: come back later."""
    use_layer(settings, "redis://127.0.0.1:1", "asgi")
    async with lab_opened() as opened:
        for path in ("group/", "group/sync/", "whoami/", "direct/", "worker/", "room/a/"):
            client = await opened(path)
            assert await client.error_code() == "layer_unavailable"
            closed = await client.receive_output(TIMEOUT_S)
            assert (closed["type"], closed["code"]) == ("websocket.close", 1013)
            await client.wait(TIMEOUT_S)


async def test_whoami_says_who_is_connected(sqlite_database: Database, lab: Open) -> None:  # noqa: F811
    """A user's name by the session cookie; null for a visitor, and for a cookie of no worth."""
    cookie = await sign_in("ada")
    assert await (await lab("whoami/", cookie=cookie)).next() == {"user": "ada", "node": "gateway-1"}
    assert await (await lab("whoami/")).next() == {"user": None, "node": "gateway-1"}
    assert (await (await lab("whoami/", cookie="clarion_session=nonsense")).next())["user"] is None


async def test_whoami_lets_visitors_read_and_users_write(sqlite_database: Database, lab: Open) -> None:  # noqa: F811
    """What a signed-in user writes reaches all; a visitor is told where to sign in, and nobody hears it."""
    cookie = await sign_in("ada")
    user, visitor = await lab("whoami/", cookie=cookie), await lab("whoami/")
    for client in (user, visitor):
        await client.next()
    await visitor.say("me too")
    refusal = await visitor.next()
    assert refusal["error"]["code"] == "unauthorized"
    assert refusal["sign_in"] == "/sign-in"
    assert "/sign-in" in refusal["error"]["message"]
    await visitor.raw("nonsense")
    assert await visitor.error_code() == "unauthorized"
    await user.say("hello")
    for client in (user, visitor):
        assert await client.next() == {"user": "ada", "msg": "hello"}
        assert await client.silent()
    await user.raw("nonsense")
    assert await user.error_code() == "json_malformed"


async def test_many_sockets_leave_nothing(lab: Open) -> None:
    """Ten of each come and go, with messages under way."""
    clients = [await lab(path) for path in MANY for _ in range(10)]
    for client in clients[:5]:
        await client.say()
    for client in clients:
        await client.leave()
    layer = get_channel_layer()
    await wait_until_async(lambda: layer.groups == {}, TIMEOUT_S)
