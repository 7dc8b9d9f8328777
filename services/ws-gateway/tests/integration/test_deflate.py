"""permessage-deflate through the gateway: rooms and the client protocol, beside members without it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from centrifuge.protocol import client_pb2
from websockets.asyncio.client import ClientConnection, connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame

from ws_gateway.protocol.protobuf_wire import varint

from .conftest import GatewayProcess, received, running_gateway, token_for

BIG = {"text": "the same words again and again " * 100}
SMALL = {"n": 1}


class Offer(ClientPerMessageDeflateFactory):
    """A client's offer that notes of each data frame that comes whether it is compressed, and its size."""

    def __init__(self) -> None:
        super().__init__(client_max_window_bits=True)
        self.frames: list[tuple[bool, int]] = []

    def process_response_params(self, *args: Any) -> Any:
        extension: Any = super().process_response_params(*args)
        decode = extension.decode

        def noting(frame: Frame, **options: Any) -> Frame:
            if frame.opcode < 8:
                self.frames.append((frame.rsv1, len(frame.data)))
            decoded: Frame = decode(frame, **options)
            return decoded

        extension.decode = noting
        return extension


@pytest.fixture
def deflating(shared_redis_url: str, migrated_database: Path, tmp_path: Path) -> Iterator[GatewayProcess]:
    with running_gateway(tmp_path, shared_redis_url, migrated_database, CLARION_DEFLATE="true") as gateway:
        yield gateway


def protocol(gateway: GatewayProcess, subprotocol: str, *offers: Offer) -> connect:
    url = f"ws://127.0.0.1:{gateway.port}/connection/websocket"
    return connect(url, subprotocols=[subprotocol], compression=None, extensions=offers, open_timeout=20, max_size=None)  # type: ignore[list-item]


async def subscribed(socket: ClientConnection, channel: str, **fields: Any) -> dict[str, Any]:
    """Connect and subscribe in one frame; return the subscribe's result."""
    commands = [{"id": 1, "connect": {"token": token_for("7")}}, {"id": 2, "subscribe": {"channel": channel, **fields}}]
    await socket.send("\n".join(map(json.dumps, commands)))
    while True:
        for line in str(await socket.recv()).split("\n"):
            if json.loads(line).get("id") == 2:
                result: dict[str, Any] = json.loads(line)["subscribe"]
                return result


async def pushed(socket: ClientConnection, count: int) -> list[Any]:
    found: list[Any] = []
    while len(found) < count:
        lines = str(await socket.recv()).split("\n")
        found += [json.loads(line)["push"]["pub"]["data"] for line in lines if "push" in line]
    return found


async def test_members_with_and_without_share_a_room(deflating: GatewayProcess) -> None:
    """Each gets every message, in order; only who has agreed gets the long ones compressed."""
    channel, offers = "kept:deflate", [Offer() for _ in range(4)]
    async with (
        deflating.connect(channel) as plain,
        deflating.connect(channel, extensions=[offers[0]]) as room,
        deflating.connect(channel, query="?envelope=1", extensions=[offers[1]]) as envelope,
        protocol(deflating, "centrifuge-json") as json_plain,
        protocol(deflating, "centrifuge-json", offers[2]) as json_deflated,
        protocol(deflating, "centrifuge-protobuf", offers[3]) as protobuf,
    ):
        for socket in (json_plain, json_deflated):
            await subscribed(socket, channel)
        await protobuf_subscribed(protobuf, channel)
        for offer in offers:
            offer.frames.clear()
        wanted: list[Any] = []
        for _ in range(3):
            for data in (BIG, SMALL):
                wanted.append(data)
                deflating.publisher.publish(channel, data)
                assert await received(plain, 1) == await received(room, 1) == [data]
                assert [item["data"] for item in await received(envelope, 1)] == [data]
                assert await pushed(json_plain, 1) == await pushed(json_deflated, 1) == [data]
                assert await protobuf_pushed(protobuf) == data
    for offer in offers:
        assert [is_compressed for is_compressed, _ in offer.frames] == [True, False] * 3
        assert max(size for _, size in offer.frames) < 250, "3,100 bytes of repeated words"


async def test_clients_may_send_compressed(deflating: GatewayProcess) -> None:
    """What a client publishes arrives whole, compressed by it or not."""
    async with deflating.connect("chat:deflate", extensions=[Offer()]) as socket:
        for data in (BIG, SMALL, BIG):
            await socket.send(json.dumps(data))
            assert await received(socket, 1) == [data]


async def test_long_recoveries_are_not_compressed(deflating: GatewayProcess) -> None:
    """What one client alone has missed may be megabytes: compressing it would hold everybody else up."""
    channel = "kept:long"
    for _ in range(100):
        deflating.publisher.publish(channel, BIG)
    room, client = Offer(), Offer()
    async with deflating.connect(channel, query="?since=0", extensions=[room]) as socket:
        assert (await received(socket, 101))[1:] == [BIG] * 100
    async with protocol(deflating, "centrifuge-json", client) as socket:
        result = await subscribed(socket, channel, recover=True, offset=0, epoch="")
        assert len(result.get("publications", [])) in (0, 100)
    assert not any(is_compressed for is_compressed, _ in room.frames)
    assert not any(is_compressed for is_compressed, size in client.frames if size > 100_000)


async def protobuf_subscribed(socket: ClientConnection, channel: str) -> None:
    connecting, subscribing = client_pb2.Command(id=1), client_pb2.Command(id=2)
    connecting.connect.token = token_for("7")
    subscribing.subscribe.channel = channel
    for command in (connecting, subscribing):
        raw = command.SerializeToString()
        await socket.send(varint(len(raw)) + raw)
    while not any(reply.id == 2 for reply in replies_of(await socket.recv())):
        pass


async def protobuf_pushed(socket: ClientConnection) -> Any:
    while True:
        for reply in replies_of(await socket.recv()):
            if reply.HasField("push"):
                return json.loads(reply.push.pub.data)


def replies_of(raw: Any) -> list[Any]:
    found, at = [], 0
    while at < len(raw):
        size, shift = 0, 0
        while raw[at] & 128:
            size, shift, at = size | (raw[at] & 127) << shift, shift + 7, at + 1
        size, at = size | raw[at] << shift, at + 1
        found.append(client_pb2.Reply.FromString(raw[at : at + size]))
        at += size
    return found
