"""Plain rooms on a real gateway: what arrives, what is answered, who is refused."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from redis import Redis
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.waiting import wait_until_async

from .conftest import PUBLIC_URL, GatewayProcess, close_of, received, token_for

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def gateway(shared_gateway: GatewayProcess) -> GatewayProcess:
    """These tests leave the gateway as it is, and share one."""
    return shared_gateway


VALUES: list[Any] = [
    {"text": "grüße", "n": 1}, [], {}, "", "text", 0, -1.5, 2**63, True, None,
    {"a": {"b": [{}, []]}}, "\u0000\u2028</script>",
]  # fmt: skip


async def test_what_is_published_arrives_as_exactly_that_json(gateway: GatewayProcess) -> None:
    """One text frame a publication, holding an equal JSON value, in the order published."""
    async with gateway.connect("chat:x") as socket:
        for value in VALUES:
            gateway.publisher.publish("chat:x", value)
        for value in VALUES:
            frame = await socket.recv()
            assert isinstance(frame, str)
            assert json.loads(frame) == value


async def test_a_stock_services_message_arrives_as_that_json(gateway: GatewayProcess) -> None:
    """An unknown type, bytes, or no type at all never closes a socket."""
    async with gateway.connect("chat:x") as socket:
        for message in ({"type": "chat.message", "message": "hi"}, {"type": "no.such.handler"}, {"n": 1}):
            gateway.publisher.publish_message("chat:x", message)
            assert await received(socket, 1) == [message]


async def test_a_clients_frame_is_published_to_all(gateway: GatewayProcess) -> None:
    """A JSON text frame goes to every member, its sender included, each client's frames in order."""
    async with gateway.connect("chat:x") as sender, gateway.connect("chat:x") as other:
        for number in range(60):
            await sender.send(json.dumps({"n": number}))
        for socket in (sender, other):
            assert await received(socket, 60) == [{"n": number} for number in range(60)]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "json_malformed"), ("", "json_malformed"), ("NaN", "data_invalid"),
        ("18446744073709551616", "data_invalid"),
        ("[" * 200 + "]" * 200, "data_invalid"), (b"1", "data_invalid"),
    ],
)  # fmt: skip
async def test_a_frame_that_cannot_be_published_is_answered_by_an_error_frame(
    gateway: GatewayProcess, frame: str | bytes, code: str
) -> None:
    """The problem document's code and a text; the socket stays and nobody else sees it."""
    async with gateway.connect("chat:x") as socket:
        await socket.send(frame)
        answer = (await received(socket, 1))[0]
        assert answer["error"]["code"] == code
        assert answer["error"]["message"]
        await socket.send("1")
        assert await received(socket, 1) == [1]


async def test_who_may_not_publish_is_told_and_may_go_on_listening(gateway: GatewayProcess) -> None:
    """permission_denied, and the socket stays."""
    async with gateway.connect("news:x") as socket:
        await socket.send("1")
        assert (await received(socket, 1))[0]["error"]["code"] == "permission_denied"
        gateway.publisher.publish("news:x", "still here")
        assert await received(socket, 1) == ["still here"]


@pytest.mark.parametrize("size", [65_537, 200_000])
async def test_a_frame_over_64_kib_closes_with_1009(gateway: GatewayProcess, size: int) -> None:
    """65,536 bytes pass, one more does not."""
    async with gateway.connect("chat:x") as socket:
        fits = '"' + "x" * 65_534 + '"'
        await socket.send(fits)
        assert await socket.recv() == fits
        await socket.send("x" * size)
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009


async def test_hello_is_the_first_frame_when_asked_for(gateway: GatewayProcess) -> None:
    """?hello=1 tells the node, the channel and the user; without it nothing comes unasked."""
    async with gateway.connect("chat:x", query="?hello=1") as socket, gateway.connect("chat:x") as plain:
        assert await received(socket, 1) == [{"hello": {"node": "gateway-test", "channel": "chat:x", "user": "7"}}]
        assert socket.subprotocol == "clarion"
        gateway.publisher.publish("chat:x", 1)
        assert await received(plain, 1) == [1]


async def test_the_token_may_stand_in_the_url(gateway: GatewayProcess) -> None:
    """Short-lived there, and in no log."""
    token = token_for("9")
    async with gateway.connect("chat:x", token=None, query=f"?hello=1&token={token}") as socket:
        assert (await received(socket, 1))[0]["hello"]["user"] == "9"
    long_lived = token_for("9", ttl_s=3_600)
    assert (await close_of(gateway.connect("chat:x", token=None, query=f"?token={long_lived}")))[0] == 4401
    async with gateway.connect("chat:x", token=long_lived, query="?hello=1") as socket:
        assert (await received(socket, 1))[0]["hello"]["user"] == "9"
    assert token not in gateway.log
    assert long_lived not in gateway.log


@pytest.mark.parametrize(
    ("channel", "options", "code"),
    [
        ("a b", {}, 4400), ("a/b", {}, 4400), ("", {}, 4400), ("x" * 201, {}, 4400), ("chat:ä", {}, 4400),
        ("#", {}, 4400),
        ("chat:x", {"token": None}, 4401), ("chat:x", {"token": "nonsense"}, 4401),
        ("chat:x", {"token": token_for("7", ttl_s=-60)}, 4401), ("chat:x", {"token": None, "origin": PUBLIC_URL}, 4401),
        ("closed:x", {}, 4403), ("#8", {}, 4403), ("chat:x", {"origin": "https://evil.example"}, 4403),
        ("chat:x", {"token": token_for("")}, 4403), ("chat:x", {"token": None, "cookie": "clarion_session=x"}, 4403),
        ("nope:x", {}, 4404), ("plain", {}, 4404),
    ],
)  # fmt: skip
async def test_a_refused_client_is_told_why(
    gateway: GatewayProcess, channel: str, options: dict[str, Any], code: int
) -> None:
    """The handshake is accepted, then comes the code of the refusal, with a reason; refusals are logged."""
    before = len(gateway.events)
    closed = await close_of(gateway.connect(channel, **options))
    assert closed[0] == code
    assert closed[1]
    refused = [event for event in gateway.events[before:] if event["event"] == "connection.refused"]
    said = [(event["close_code"], event["client"], event["channel"]) for event in refused]
    assert said == [(code, "127.0.0.1", channel[:200])]


@pytest.mark.parametrize("origin", [PUBLIC_URL, "https://app.example"])
async def test_listed_origins_are_accepted(gateway: GatewayProcess, origin: str) -> None:
    """CLARION_PUBLIC_URL and client.allowed_origins; where the room is open, without any credentials."""
    async with gateway.connect("news:x", token=None, origin=origin, query="?hello=1") as socket:
        assert (await received(socket, 1))[0]["hello"]["user"] == ""


async def test_a_token_grants_its_channels_and_a_personal_channel_is_its_users_alone(gateway: GatewayProcess) -> None:
    """`channels` opens a closed room; #<user> is for that user, whatever a token says."""
    async with gateway.connect("closed:x", token=token_for("7", channels=("closed:x",))) as socket:
        gateway.publisher.publish("closed:x", 1)
        assert await received(socket, 1) == [1]
    async with gateway.connect("#7") as socket:
        gateway.publisher.publish("#7", 2)
        assert await received(socket, 1) == [2]
    assert (await close_of(gateway.connect("#8", token=token_for("7", channels=("#8",)))))[0] == 4403


async def test_a_session_cookie_signs_in(gateway: GatewayProcess) -> None:
    """Django's session through AuthMiddlewareStack; a bad token is refused even beside it; signed out is nobody."""
    cookie = f"other=1; {gateway.session_cookie('ada')}"
    options: dict[str, Any] = {"token": None, "origin": PUBLIC_URL, "cookie": cookie}
    async with gateway.connect("chat:x", query="?hello=1", **options) as socket:
        assert (await received(socket, 1))[0]["hello"]["user"] == "1"
    assert (await close_of(gateway.connect("chat:x", **{**options, "token": "bad"})))[0] == 4401
    gateway.django("from django.contrib.sessions.models import Session; Session.objects.all().delete()")
    assert (await close_of(gateway.connect("chat:x", **options)))[0] == 4401


async def test_a_process_subscribes_once_per_channel(gateway: GatewayProcess, shared_redis_url: str) -> None:
    """Twenty members, one Redis subscription; none after the last has left."""
    name = f"{gateway.prefix}__group__chat:x"
    sockets = [await gateway.connect("chat:x") for _ in range(20)]
    with Redis.from_url(shared_redis_url) as redis:
        assert redis.pubsub_numsub(name) == [(name.encode(), 1)]
        for socket in sockets:
            await socket.close()
        await wait_until_async(lambda: redis.pubsub_numsub(name) == [(name.encode(), 0)])


async def test_an_unrouted_path_is_404_at_the_handshake(gateway: GatewayProcess) -> None:
    """No traceback, no accepted socket."""
    with pytest.raises(InvalidStatus) as caught:
        await connect(f"ws://127.0.0.1:{gateway.port}/nope/", open_timeout=20)
    assert caught.value.response.status_code == 404
    assert json.loads(caught.value.response.body or b"")["code"] == "not_found"
    assert gateway.health("nope") == 404


async def test_a_publication_reaches_a_client_as_soon_as_it_is_connected(gateway: GatewayProcess) -> None:
    """The subscription stands before the handshake is answered: nothing published after it is missed."""
    for number in range(40):
        async with gateway.connect(f"chat:{number}") as socket:
            assert gateway.publisher.publish_message(f"chat:{number}", {"n": number}) == 1
            started = time.monotonic()
            assert await received(socket, 1) == [{"n": number}]
            assert time.monotonic() - started < 10
