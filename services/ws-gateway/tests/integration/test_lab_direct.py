"""The lesson "Direct" on a real Redis, with our layer and the stock one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.layers import get_channel_layer
from pytest_django import Settings

from .lab_client import LabClient, Open, lab_opened, use_layer

STOCK = "channels_redis.pubsub.RedisPubSubChannelLayer"


@pytest.fixture
async def lab(settings: Settings, shared_redis_url: str, layer_prefix: str) -> AsyncIterator[Open]:
    use_layer(settings, shared_redis_url, layer_prefix)
    async with lab_opened() as opened:
        yield opened


async def named(lab: Open) -> tuple[LabClient, str]:
    """A socket and the name that it was told."""
    client = await lab("direct/")
    first = await client.next()
    assert first.keys() == {"channel_name", "node"}
    return client, first["channel_name"]


async def test_message_reaches_the_one_that_is_named(lab: Open) -> None:
    """And nobody else; the sender is told where it went, not whether it arrived."""
    (sender, mine), (other, theirs), (third, _) = await named(lab), await named(lab), await named(lab)
    await sender.say("psst", to=theirs)
    assert await sender.next() == {"msg": "psst", "to": theirs}
    assert await other.next() == {"msg": "psst", "from": mine}
    await other.leave()
    await sender.say("still there?", to=theirs)
    assert await sender.next() == {"msg": "still there?", "to": theirs}
    for client in (sender, third):
        assert await client.silent()


async def test_message_without_an_address_comes_back(lab: Open) -> None:
    """The simplest case: one's own name."""
    client, name = await named(lab)
    await client.say("echo")
    frames = [await client.next(), await client.next()]
    assert frames == [{"msg": "echo", "to": name}, {"msg": "echo", "from": name}]


async def test_nothing_but_a_consumer_can_be_addressed(lab: Open, layer_prefix: str) -> None:
    """A layer's send takes any Redis channel: a client that names a group or a service's channel is refused."""
    client, name = await named(lab)
    prefix = layer_prefix
    bad: list[Any] = [
        f"{prefix}__group__news:x", f"{prefix}__group__xspecific.{'0' * 32}", f"{prefix}.lab-tasks",
        f"otherspecific.{'0' * 32}", name + "0", name[:-1], name + "\n", name.upper(), "", None, 7, [name],
    ]  # fmt: skip
    for to in bad:
        await client.say("x", to=to)
        assert await client.error_code() == "name_invalid", to
    assert await client.silent()


async def test_faults_are_caught_and_shown(lab: Open) -> None:
    """MessageTooLarge by our layer, ChannelFull by one that keeps the queue itself; nothing was sent meanwhile."""
    client, _ = await named(lab)
    await client.say("big", show="too_large")
    answer = await client.next()
    assert (answer["msg"], answer["show"], answer["caught"]) == ("big", "too_large", "MessageTooLarge")
    await client.say("many", show="full")
    answer = await client.next()
    assert (answer["caught"], answer["sent"]) == ("ChannelFull", 3)
    assert "pub/sub" in answer["note"]
    for show in ("nonsense", 7, ["full"], {}):
        await client.say("x", show=show)
        assert await client.error_code() == "data_invalid"
    assert await client.silent()


async def test_dead_member_leaves_our_layer_alone(lab: Open) -> None:
    """With the in-memory layer it stays in its group; of the demonstration itself nothing stays."""
    client, name = await named(lab)
    for _ in range(3):
        await client.say("x", show="dead_member")
        answer = await client.next()
        assert answer["still_member"] == {"ClarionChannelLayer": False, "InMemoryChannelLayer": True}
    layer = get_channel_layer()
    assert (list(layer.channels), layer.groups) == ([name], {})


async def test_lesson_runs_on_the_stock_layer(settings: Settings, shared_redis_url: str, layer_prefix: str) -> None:
    """A reader's copy: there a dead member stays, and 2 MiB are sent."""
    use_layer(settings, shared_redis_url, layer_prefix, STOCK)
    async with lab_opened() as lab:
        client, _ = await named(lab)
        await client.say("x", show="dead_member")
        assert (await client.next())["still_member"] == {"RedisPubSubChannelLayer": True, "InMemoryChannelLayer": True}
        await client.say("x", show="too_large")
        assert (await client.next())["caught"] is None
        assert len((await client.next())["msg"]) == 2**21
        group = await lab("group/")
        await group.say("stock")
        assert (await group.next())["msg"] == "stock"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nonsense", "json_malformed"),
        (json.dumps({"msg": "x" * 4_097, "show": "full"}), "message_too_large"),
        (None, "data_invalid"),
    ],
)
async def test_direct_answers_a_bad_message(lab: Open, text: str | None, code: str) -> None:
    """The socket stays."""
    client, _ = await named(lab)
    await client.raw(text, None if text else b"binary")
    assert await client.error_code() == code
    await client.say("still here")
    assert (await client.next())["msg"] == "still here"


async def test_direct_is_not_ended_by_a_question(lab: Open) -> None:
    """Who has its name may send it any type: what it does not know would close it with 1011."""
    client, name = await named(lab)
    await get_channel_layer().send(name, {"type": "lab.question", "id": "1", "question": "?", "reply_to": name})
    await client.say("still here")
    assert (await client.next())["msg"] == "still here"
