"""ws_gateway.control on a real gateway: orders over Redis, and what clients of the protocol see of them."""

from __future__ import annotations

import json
import time
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest
import redis

from clarion.names import redis_control, redis_reply
from clarion.orders import (
    ChannelsAnswer,
    ChannelsQuestion,
    Disconnect,
    Order,
    Refresh,
    Subscribe,
    Unsubscribe,
    answer_decode,
    message_encode,
)
from clarion.presence import SyncPresence
from clarion.streams import Position
from clarion.tokens import Override, SubsOptions
from clarion.tokens.claims import Flag
from tests.support.protocol_client import protocol_client
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until_async

from .conftest import GatewayProcess, token_for


@pytest.fixture
def user() -> str:
    """A user whom no other test has."""
    return f"u{uuid4().hex[:12]}"


def send(gateway: GatewayProcess, order: Order) -> None:
    """Publish an order; the gateway hears it."""
    assert gateway.publisher.publish_raw(redis_control(gateway.prefix), message_encode(order)) == 1


def client_of(gateway: GatewayProcess, user: str, **options: Any) -> Any:
    """A connected client of this user."""
    return protocol_client(f"http://127.0.0.1:{gateway.port}", token_for(user, **options))


async def test_subscribe_makes_a_server_side_subscription(shared_gateway: GatewayProcess, user: str) -> None:
    """The client is told with position and data and receives from then on, though it has no right to subscribe."""
    async with client_of(shared_gateway, user) as client:
        options = SubsOptions(data={"why": "invited"})
        send(shared_gateway, Subscribe(user=user, channel="closed:x", options=options))
        assert await client.push("subscribe", "closed:x") == {"data": {"why": "invited"}}
        shared_gateway.publisher.publish("closed:x", {"n": 1})
        assert (await client.push("pub", "closed:x"))["data"] == {"n": 1}


async def test_subscribe_recovers_from_a_position(
    redis_server: RedisServer, gateway: GatewayProcess, user: str
) -> None:
    """What came since the position follows the subscribe push, in order, before anything newer."""
    channel = f"kept:{user}"
    async with client_of(gateway, "helper") as helper:
        for number in range(1, 4):
            assert "publish" in await helper.command(publish={"channel": channel, "data": number})
    async with client_of(gateway, user) as client:
        send(gateway, Subscribe(user=user, channel=channel, since=Position(1, "")))
        told = await client.push("subscribe", channel)
        assert (told["offset"], told["recoverable"], told["positioned"]) == (3, True, True)
        assert [(await client.push("pub", channel))["offset"] for _ in range(2)] == [2, 3]
        await client.command(publish={"channel": channel, "data": 4})
        assert (await client.push("pub", channel))["offset"] == 4


async def test_subscribe_shows_its_info_in_the_presence(shared_gateway: GatewayProcess, user: str) -> None:
    """``override`` switches the presence on for this subscription; the info is the subscription's."""
    async with client_of(shared_gateway, user, info={"name": "Ada"}) as client:
        options = SubsOptions(info={"seat": 7}, override=Override(presence=Flag(True)))
        channel = f"closed:{user}"
        send(shared_gateway, Subscribe(user=user, channel=channel, options=options))
        await client.push("subscribe", channel)
        members = SyncPresence(shared_gateway.publisher).read(channel)
        entry = {"user": user, "client": client.id, "conn_info": {"name": "Ada"}, "chan_info": {"seat": 7}}
        assert members == {client.id: entry}


async def test_subscribe_that_expires_ends_the_connection(shared_gateway: GatewayProcess, user: str) -> None:
    """A subscription whose end is past, and whose grace too, closes the connection with 3006."""
    async with client_of(shared_gateway, user) as client:
        send(shared_gateway, Subscribe(user=user, channel="closed:x", expires_at=int(time.time()) - 1_000))
        assert await client.closed() == (3006, "subscription expired")


async def test_unsubscribe_ends_one_or_all(shared_gateway: GatewayProcess, user: str) -> None:
    """Unsubscribe 2000, for subscriptions of the client's own and of the server's; nothing comes after it."""
    async with client_of(shared_gateway, user) as client:
        for channel in ("chat:a", "chat:b", "chat:c"):
            await client.subscribe(channel)
        send(shared_gateway, Unsubscribe(user=user, channel="chat:a"))
        assert (await client.push("unsubscribe", "chat:a"))["code"] == 2000
        shared_gateway.publisher.publish("chat:a", "not for you")
        shared_gateway.publisher.publish("chat:b", "for you")
        assert (await client.push_where(lambda push: "pub" in push, "pub"))["data"] == "for you"
        send(shared_gateway, Unsubscribe(user=user))
        assert {(await client.push("unsubscribe", channel))["code"] for channel in ("chat:b", "chat:c")} == {2000}
        await client.subscribe("chat:a")  # nothing keeps it from coming back


async def test_disconnect_closes_with_code_and_reason(shared_gateway: GatewayProcess, user: str) -> None:
    """All of the user's connections, and nobody else's."""
    async with AsyncExitStack() as stack:
        mine = [await stack.enter_async_context(client_of(shared_gateway, user)) for _ in range(2)]
        other = await stack.enter_async_context(client_of(shared_gateway, user + "x"))
        send(shared_gateway, Disconnect(user=user, code=4321, reason="go away"))
        assert [await client.closed() for client in mine] == [(4321, "go away")] * 2
        await other.command(ping={})
        assert other.is_open


async def test_disconnect_spares_the_whitelist(shared_gateway: GatewayProcess, user: str) -> None:
    """ "Sign out everywhere else": the connection that asked for it stays."""
    async with client_of(shared_gateway, user) as kept, client_of(shared_gateway, user) as gone:
        send(shared_gateway, Disconnect(user=user, code=3503, reason="force disconnect", whitelist=[kept.id]))
        assert await gone.closed() == (3503, "force disconnect")
        await kept.command(ping={})
        assert kept.is_open


async def test_orders_are_for_one_connection_if_they_say_so(shared_gateway: GatewayProcess, user: str) -> None:
    """``client`` selects one, and of a user who does not own it none."""
    async with client_of(shared_gateway, user) as first, client_of(shared_gateway, user) as second:
        send(shared_gateway, Disconnect(user="somebody", client=first.id, code=3503, reason=""))
        send(shared_gateway, Disconnect(user=user, session="no-such-session", code=3503, reason=""))
        send(shared_gateway, Subscribe(user=user, client=second.id, channel="closed:x"))
        await second.push("subscribe", "closed:x")
        send(shared_gateway, Disconnect(user=user, client=second.id, code=3503, reason="bye"))
        assert await second.closed() == (3503, "bye")
        await first.command(ping={})
        assert first.is_open


async def test_orders_are_for_one_emulation_session(shared_gateway: GatewayProcess, user: str) -> None:
    """``session`` selects an HTTP stream, which is told why in a push; the user's WebSocket stays."""
    command = {"id": 1, "connect": {"token": token_for(user)}}
    url = f"http://127.0.0.1:{shared_gateway.port}/connection/http_stream"
    async with client_of(shared_gateway, user) as other, httpx.AsyncClient(timeout=30, trust_env=False) as http:
        async with http.stream("POST", url, json=command) as stream:
            lines = stream.aiter_lines()
            session = json.loads(await anext(lines))["connect"]["session"]
            send(shared_gateway, Disconnect(user=user, session=session, code=4001, reason="this one"))
            told = [json.loads(line) async for line in lines if line]
        assert told == [{"push": {"disconnect": {"code": 4001, "reason": "this one", "reconnect": True}}}]
        await other.command(ping={})
        assert other.is_open


async def test_refresh_tells_the_client_how_long(shared_gateway: GatewayProcess, user: str) -> None:
    """A push with the seconds that are left; 0 is for good."""
    async with client_of(shared_gateway, user) as client:
        assert client.connected["expires"]
        send(shared_gateway, Refresh(user=user, expires_at=int(time.time()) + 1_000))
        told = await client.push("refresh")
        assert told["expires"]
        assert 900 < told["ttl"] <= 1_000
        send(shared_gateway, Refresh(user=user))
        assert await client.push("refresh") == {}


@pytest.mark.parametrize("order", [{"expired": True}, {"expires_at": -2}])
async def test_refresh_of_what_has_expired_closes(
    shared_gateway: GatewayProcess, user: str, order: dict[str, Any]
) -> None:
    """3005 at once, without the 25 s of grace that a token has: the client fetches a new one."""
    if "expires_at" in order:
        order = {"expires_at": int(time.time()) + order["expires_at"]}
    async with client_of(shared_gateway, user) as client:
        start = time.monotonic()
        send(shared_gateway, Refresh(user=user, **order))
        assert await client.closed() == (3005, "connection expired")
        assert time.monotonic() - start < 15


async def test_channels_are_told_with_their_subscribers(shared_gateway: GatewayProcess, user: str) -> None:
    """Those that the pattern takes, plain rooms included; none at all is an answer, too."""
    async with (
        client_of(shared_gateway, user) as first,
        client_of(shared_gateway, user) as second,
        shared_gateway.connect(f"chat:{user}:b"),
    ):
        for client in (first, second):
            await client.subscribe(f"chat:{user}:a")
        await first.subscribe(f"news:{user}")
        wanted = {f"chat:{user}:a": 2, f"chat:{user}:b": 1}
        await wait_until_async(lambda: survey(shared_gateway, f"chat:{user}:*").channels == wanted)
        assert survey(shared_gateway, f"{{news,chat}}:{user}").channels == {f"news:{user}": 1}
        nothing = survey(shared_gateway, "nosuch:*")
        assert (nothing.channels, nothing.is_last) == ({}, True)
        assert wanted.items() <= survey(shared_gateway, "").channels.items()


def survey(gateway: GatewayProcess, pattern: str) -> ChannelsAnswer:
    """Ask, and return the one answer."""
    question = ChannelsQuestion(uuid4().hex, pattern)
    with (
        redis.Redis.from_url(gateway.env["CLARION_REDIS_URL"], socket_timeout=30) as client,
        client.pubsub() as ear,
    ):
        ear.subscribe(redis_reply(gateway.prefix, question.id))
        assert ear.get_message(timeout=30)
        send(gateway, question)
        message = ear.get_message(timeout=30)
        assert message, "no answer"
        return answer_decode(message["data"])


async def test_nonsense_on_the_control_bus_is_dropped(shared_gateway: GatewayProcess, user: str) -> None:
    """Whatever comes, the gateway goes on hearing; one warning a piece, and no traceback."""
    name = redis_control(shared_gateway.prefix)
    orders = [
        b"",
        b"nonsense",
        msgspec.msgpack.encode({"kind": "reboot"}),
        msgspec.msgpack.encode({"kind": "disconnect", "user": user}),
        msgspec.msgpack.encode({"kind": "disconnect", "user": user, "code": "3503", "reason": ""}),
        message_encode(Subscribe(user=user, channel="nosuch:x")),
        message_encode(ChannelsQuestion("id", "{")),
        message_encode(Disconnect(user=user, code=70_000, reason="")),
    ]
    seen = len(warnings_of(shared_gateway))
    async with client_of(shared_gateway, user) as client:
        for order in orders:
            assert shared_gateway.publisher.publish_raw(name, order) == 1
        send(shared_gateway, Disconnect(user=user, code=4000, reason="still here"))
        assert await client.closed() == (4000, "still here")
    await wait_until_async(lambda: len(warnings_of(shared_gateway)) >= seen + len(orders))
    assert "Traceback" not in shared_gateway.log


def warnings_of(gateway: GatewayProcess) -> list[str]:
    """Warnings of the control bus that the gateway has logged."""
    kinds = {"order.malformed", "subscribe.refused", "survey.unanswered"}
    return [event["event"] for event in gateway.events if event["event"] in kinds]


async def test_an_order_goes_to_clients_in_the_order_given(shared_gateway: GatewayProcess, user: str) -> None:
    """Twenty orders of one sender, obeyed one after the other: the last one decides."""
    async with client_of(shared_gateway, user) as client:
        for _ in range(10):
            send(shared_gateway, Subscribe(user=user, channel="closed:turns"))
            send(shared_gateway, Unsubscribe(user=user, channel="closed:turns"))
        send(shared_gateway, Subscribe(user=user, channel="closed:end"))
        await client.push("subscribe", "closed:end")
        await wait_until_async(lambda: survey(shared_gateway, "closed:turns").channels == {})
