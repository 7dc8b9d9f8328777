"""The lesson "Room" on a real Redis and real databases."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
from django.db import connection
from pytest_django import Settings

from tests.support.databases import (  # noqa: F401 - fixtures
    Database,
    database,
    postgresql_database,
    postgresql_template,
    sqlite_database,
    sqlite_template,
)
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until_async
from ws_gateway.lab import models
from ws_gateway.lab.consumers import room
from ws_gateway.lab.models import RoomMessage, history_of, message_save

from .lab_client import TIMEOUT_S, LabClient, Open, in_database, lab_opened, sign_in, use_layer


@pytest.fixture
async def lab(
    database: Database,  # noqa: F811
    settings: Settings,
    shared_redis_url: str,
    layer_prefix: str,
) -> AsyncIterator[Open]:
    use_layer(settings, shared_redis_url, layer_prefix)
    async with lab_opened() as opened:
        yield opened


async def joined(lab: Open, name: str = "tea", cookie: str = "") -> tuple[LabClient, list[Any]]:
    """A member of a room, and the history that it was shown."""
    client = await lab(f"room/{name}/", cookie=cookie)
    first = await client.next()
    assert first.keys() == {"history", "node"}
    assert first["node"] == "gateway-1"
    return client, first["history"]


async def test_room_shows_messages_live_and_to_who_joins_later(lab: Open) -> None:
    """With author and time; live and in the history the same."""
    user, empty = await joined(lab, cookie=await sign_in("ada"))
    visitor, _ = await joined(lab)
    assert empty == []
    await user.say("<b>hello</b>")
    first = await visitor.next()
    await visitor.say("ä🙂")
    second = await visitor.next()
    assert [await user.next(), await user.next()] == [first, second]
    assert (first["author"], first["msg"]) == ("ada", "<b>hello</b>")
    assert (second["author"], second["msg"]) == ("guest", "ä🙂")
    assert datetime.fromisoformat(first["time"]) <= datetime.fromisoformat(second["time"])
    assert datetime.fromisoformat(first["time"]).utcoffset() is not None
    _, history = await joined(lab)
    assert history == [first, second]
    assert await user.silent()


async def test_room_is_named_by_its_url(lab: Open) -> None:
    """Two rooms share nothing; a name is taken as it is, in its case."""
    tea, _ = await joined(lab, "tea")
    other, _ = await joined(lab, "Tea")
    longest, _ = await joined(lab, "a-Z_9" + "x" * 59)
    await tea.say("only here")
    assert (await tea.next())["msg"] == "only here"
    for client in (other, longest):
        assert await client.silent()
    assert (await joined(lab, "Tea"))[1] == []


@pytest.mark.parametrize(
    "name", ["x" * 65, "a%20b", "%C3%A4", "a.b", "a/b", "%3Cscript%3E", "a%00b", "a:b", "%E2%80%AE"]
)
async def test_bad_room_name_is_told_and_closed_with_4400(sqlite_database: Database, lab: Open, name: str) -> None:  # noqa: F811
    """Accepted, told, closed: a page could not read the reason of a refused handshake. Nothing is saved."""
    client = await lab(f"room/{name}/")
    await client.say("too early")
    assert await client.error_code() == "name_invalid"
    closed = await client.receive_output(TIMEOUT_S)
    assert (closed["type"], closed["code"]) == ("websocket.close", 4400)
    assert await client.silent()
    await client.leave()
    assert await in_database(RoomMessage.objects.count) == 0


async def test_history_is_the_last_50_in_order(lab: Open) -> None:
    """Of this room, the oldest first."""
    for number in range(60):
        await in_database(message_save, "tea", "ada", f"{number}")
        await in_database(message_save, "coffee", "eve", f"no {number}")
    _, history = await joined(lab)
    assert [message["msg"] for message in history] == [f"{number}" for number in range(10, 60)]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_message_about_the_read_is_shown_once(lab: Open, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Sent between join and read it is in the history and not shown again; sent after the read it comes live."""
    writer, _ = await joined(lab)
    reading, goes_on = threading.Event(), threading.Event()

    def slow_history(name: str) -> list[dict[str, Any]]:
        found = history_of(name) if when == "after" else None
        reading.set()
        goes_on.wait(TIMEOUT_S)
        return history_of(name) if found is None else found

    monkeypatch.setattr(room, "history_of", slow_history)
    joining = asyncio.ensure_future(joined(lab))
    await wait_until_async(reading.is_set)
    await writer.say("meanwhile")
    message = await writer.next()
    goes_on.set()
    client, history = await joining
    assert history == ([message] if when == "before" else [])
    if when == "after":
        assert await client.next() == message
    assert await client.silent()


async def test_who_joins_while_others_write_misses_nothing(lab: Open) -> None:
    """What was saved before the read is in the history, the rest comes live; nothing twice, in order."""
    writer, _ = await joined(lab)
    said: list[str] = []
    enough = asyncio.Event()

    async def write() -> None:
        while not enough.is_set() or len(said) < 60:
            said.append(f"{len(said)}")
            await writer.say(said[-1])
            await writer.next()

    writing = asyncio.ensure_future(write())
    joins = [await joined(lab) for _ in range(8)]
    enough.set()
    await writing
    assert joins[-1][1]
    for client, history in joins:
        seen = [message["msg"] for message in history]
        assert len(seen) <= 50
        while seen[-1:] != said[-1:]:
            seen.append((await client.next())["msg"])
        assert seen == said[-len(seen) :]
        assert await client.silent()


async def test_room_keeps_a_bounded_number_of_messages(
    database: Database,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The oldest of the room go, and the oldest of all: a lab that is open to everyone must not fill the database."""
    monkeypatch.setattr(models, "ROOM_KEPT", 5)
    monkeypatch.setattr(models, "ALL_KEPT", 20)

    def fill() -> None:
        for number in range(8):
            message_save("tea", "ada", f"{number}")
        assert [message["msg"] for message in history_of("tea")] == ["3", "4", "5", "6", "7"]
        assert RoomMessage.objects.count() == 5
        for number in range(40):
            message_save(f"room-{number}", "ada", "x")
        assert RoomMessage.objects.count() == 20
        assert history_of("tea") == []

    await in_database(fill)


def table_rename(old: str, new: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")


async def test_database_that_fails_is_told_and_the_socket_lives(lab: Open) -> None:
    """Nothing is shown that was not saved; who joins meanwhile is asked to come back."""
    client, _ = await joined(lab)
    await in_database(table_rename, "lab_roommessage", "elsewhere")
    await client.say("lost")
    assert await client.error_code() == "database_unavailable"
    late = await lab("room/tea/")
    assert await late.error_code() == "database_unavailable"
    assert (await late.receive_output(TIMEOUT_S))["code"] == 1013
    await late.wait(TIMEOUT_S)
    await in_database(table_rename, "elsewhere", "lab_roommessage")
    await client.say("kept")
    assert (await client.next())["msg"] == "kept"


async def test_redis_that_goes_is_told_and_the_message_is_kept(
    sqlite_database: Database,  # noqa: F811
    settings: Settings,
    redis_server: RedisServer,
) -> None:
    """Saved and not sent: it is in the history of who joins later, and the socket goes on."""
    use_layer(settings, redis_server.url, "asgi")
    async with lab_opened() as opened:
        client, _ = await joined(opened)
        redis_server.stop()
        await client.say("while away")
        assert await client.error_code() == "layer_unavailable"
        redis_server.start()
        await client.back("again")
        _, history = await joined(opened)
        assert history[0]["msg"] == "while away"
        assert history[-1]["msg"] == "again"


@pytest.mark.parametrize(
    ("text", "code"), [("nonsense", "json_malformed"), ('{"msg": ""}', "data_invalid"), (None, "data_invalid")]
)
async def test_room_answers_a_bad_message_and_saves_nothing(lab: Open, text: str | None, code: str) -> None:
    """The sender alone is told."""
    client, _ = await joined(lab)
    other, _ = await joined(lab)
    await client.raw(text, None if text else b"binary")
    assert await client.error_code() == code
    assert await other.silent()
    assert (await joined(lab))[1] == []
