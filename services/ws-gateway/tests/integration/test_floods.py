"""Clients that send as fast as they can: they are sent away, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from clarion.codes import CloseCode, DisconnectCode, RoomCloseCode
from tests.support.waiting import DEADLINE_S, wait_until
from ws_gateway.protocol.codec import COMMANDS_MAX
from ws_gateway.protocol.protobuf_wire import delimited, varint

from .conftest import CONFIG, GatewayProcess, received, running_gateway, token_for
from .stalling import join

KEPT_BYTES = 12_000_000
"""What a process may keep of a flood: its heap has grown by what one turn of the loop needs."""

PONG: dict[str, Any] = {"json": "{}", "protobuf": b"\0"}
PING: dict[str, Any] = {"json": '{"id":2,"ping":{}}', "protobuf": b"\x04\x08\x02\x5a\0"}
PING_REPLY: dict[str, Any] = {"json": '{"id":2,"ping":{}}', "protobuf": b"\x04\x08\x02\x62\0"}
BETWEEN: dict[str, Any] = {"json": "\n", "protobuf": b""}
"""What joins commands to a frame; alone it is a frame without a command."""


@pytest.fixture
def strict(shared_redis_url: str, migrated_database: Path, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway that allows twenty commands a second, after a hundred."""
    config = CONFIG + "[limits]\ncommands_per_s = 20\ncommands_burst = 100\n"
    with running_gateway(tmp_path, shared_redis_url, migrated_database, config=config) as gateway:
        yield gateway


@pytest.fixture
def patient(shared_redis_url: str, migrated_database: Path, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway that allows any number of commands a second."""
    config = CONFIG + "[limits]\ncommands_per_s = 0\n"
    with running_gateway(tmp_path, shared_redis_url, migrated_database, config=config) as gateway:
        yield gateway


def memory_bytes(gateway: GatewayProcess) -> int:
    assert gateway.process is not None
    return int(Path(f"/proc/{gateway.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()


async def end_of(client: ClientConnection) -> tuple[list[str], int | None]:
    """What came up to the end, and the close code."""
    frames = []
    with contextlib.suppress(ConnectionClosed):
        async for frame in client:
            frames.append(str(frame))  # noqa: PERF401 - what came before an exception counts
    return frames, client.close_code


async def send(client: ClientConnection, frame: str | bytes, count: int) -> None:
    with contextlib.suppress(ConnectionClosed):
        for _ in range(count):
            await client.send(frame)


def frame_of(form: str, command: dict[str, Any], count: int) -> Any:
    """A frame that holds a command so many times."""
    return BETWEEN[form].join([command[form]] * count)


@asynccontextmanager
async def connected(gateway: GatewayProcess, form: str) -> AsyncIterator[ClientConnection]:
    """A client of the client protocol, behind its connect."""
    url, token = f"ws://127.0.0.1:{gateway.port}/connection/websocket", token_for("7")
    binary = b"\x08\x01" + delimited(4, delimited(1, token.encode()))
    first = json.dumps({"id": 1, "connect": {"token": token}}) if form == "json" else varint(len(binary)) + binary
    async with connect(url, subprotocols=[Subprotocol(f"centrifuge-{form}")], compression=None, proxy=None) as client:
        await client.send(first)
        await client.recv()
        yield client


async def emulated(gateway: GatewayProcess, frames: list[str]) -> list[dict[str, Any]]:
    """Send frames by ``/emulation``; what came down the HTTP stream up to its end, behind the connect's reply."""
    url = f"http://127.0.0.1:{gateway.port}"
    first = {"id": 1, "connect": {"token": token_for("7")}}
    async with (
        httpx.AsyncClient(timeout=DEADLINE_S, trust_env=False) as http,
        http.stream("POST", f"{url}/connection/http_stream", json=first) as stream,
    ):
        lines = stream.aiter_lines()
        reply = json.loads(await anext(lines))["connect"]
        for frame in frames:
            body = {"session": reply["session"], "node": reply["node"], "data": frame}
            assert (await http.post(f"{url}/emulation", json=body)).status_code == httpx.codes.NO_CONTENT
        return [json.loads(line) async for line in lines if line]


async def test_room_sends_a_flooder_away(strict: GatewayProcess) -> None:
    """First it is told, then 4429; frames that were allowed are published, and others are not disturbed."""
    before = memory_bytes(strict)
    async with strict.connect("chat:flood") as other, strict.connect("chat:flood") as client:
        await send(client, '"hello"', 1_000)
        frames, code = await end_of(client)
        errors = [frame for frame in frames if "too_many_requests" in frame]
        assert code == RoomCloseCode.FLOOD
        assert 50 <= len(errors) <= 200
        heard = await received(other, 60)
        assert set(map(str, heard)) == {"hello"}
        await other.send('"still here"')
        while await received(other, 1) != ["still here"]:
            pass
    wait_until(lambda: memory_bytes(strict) - before < KEPT_BYTES, what="the memory is given back")


async def test_room_lets_a_fast_client_rest(strict: GatewayProcess) -> None:
    """Who stops when it is told stays, and may go on after a rest."""
    async with strict.connect("chat:rest") as client:
        answers = []
        for _ in range(140):
            await send(client, "1", 1)
            answers.append(str(await client.recv()))
        assert sum("too_many_requests" in answer for answer in answers) in range(1, 41)
        answer = "too_many_requests"
        while "too_many_requests" in answer:
            await asyncio.sleep(0.2)  # a rest is what is tested: four commands' worth
            await send(client, '"rested"', 1)
            answer = str(await client.recv())
        assert answer == '"rested"'


async def test_protocol_sends_a_flooder_away(strict: GatewayProcess) -> None:
    """Error 111 to fifty commands, then 3013, on which an SDK comes back after a wait."""
    url = f"ws://127.0.0.1:{strict.port}/connection/websocket"
    async with connect(url, compression=None, max_size=None) as client:
        await client.send(json.dumps({"id": 1, "connect": {"token": token_for("7")}}))
        await send(client, "\n".join(json.dumps({"id": number, "ping": {}}) for number in range(2, 500)), 5)
        frames, code = await end_of(client)
    replies = [json.loads(line) for frame in frames for line in frame.split("\n")]
    assert sum(reply.get("error", {}).get("code") == 111 for reply in replies) in range(50, 60)
    assert code == DisconnectCode.TOO_MANY_REQUESTS


@pytest.mark.parametrize("form", ["json", "protobuf"])
@pytest.mark.parametrize("pongs", [1, 200])
async def test_pongs_that_nobody_asked_for_are_a_flood(strict: GatewayProcess, form: str, pongs: int) -> None:
    """One a frame or many: they count as commands do, and nothing is said before 3013."""
    async with connected(strict, form) as client:
        await send(client, frame_of(form, PONG, pongs), 1_000 // pongs)
        assert await end_of(client) == ([], DisconnectCode.TOO_MANY_REQUESTS)


@pytest.mark.parametrize("form", ["json", "protobuf"])
async def test_frames_without_a_command_are_a_flood(strict: GatewayProcess, form: str) -> None:
    """Each counts as a pong."""
    async with connected(strict, form) as client:
        await send(client, BETWEEN[form], 1_000)
        assert await end_of(client) == ([], DisconnectCode.TOO_MANY_REQUESTS)


@pytest.mark.parametrize("pongs", [1, 200])
async def test_emulated_pongs_are_a_flood(strict: GatewayProcess, pongs: int) -> None:
    """The stream's last line says 3013; later requests find nobody, and are 204 all the same."""
    told = await emulated(strict, [frame_of("json", PONG, pongs)] * (400 // pongs))
    assert [line["push"]["disconnect"]["code"] for line in told] == [DisconnectCode.TOO_MANY_REQUESTS]


@pytest.mark.parametrize("form", ["json", "protobuf"])
async def test_a_crowded_frame_is_a_flood(patient: GatewayProcess, form: str) -> None:
    """4,096 commands are taken, whatever the rate; of 4,097 none is: 3013."""
    async with connected(patient, form) as client:
        await client.send(BETWEEN[form].join([PING[form], frame_of(form, PONG, COMMANDS_MAX - 1)]))
        assert await client.recv() == PING_REPLY[form]
        await client.send(BETWEEN[form].join([PING[form], frame_of(form, PONG, COMMANDS_MAX)]))
        assert await end_of(client) == ([], DisconnectCode.TOO_MANY_REQUESTS)


async def test_an_emulated_crowded_frame_is_a_flood(patient: GatewayProcess) -> None:
    """The same over an HTTP stream, whose last line says it."""
    told = await emulated(patient, [PING["json"], frame_of("json", PING, COMMANDS_MAX + 1)])
    assert told[0] == {"id": 2, "ping": {}}
    assert [line["push"]["disconnect"]["code"] for line in told[1:]] == [DisconnectCode.TOO_MANY_REQUESTS]


@pytest.mark.parametrize("path", ["/connection/websocket", "/ws/chat:large/"])
async def test_large_frames_leave_nothing(strict: GatewayProcess, path: str) -> None:
    """A megabyte a frame, as fast as the socket takes it: the end comes soon, and the memory comes back."""
    before = memory_bytes(strict)
    url = f"ws://127.0.0.1:{strict.port}{path}?token={token_for('7')}"
    frame = json.dumps({"id": 2, "publish": {"channel": "chat:large", "data": "x" * 1_000_000}})
    for _ in range(5):
        async with connect(url, compression=None, max_size=None) as client:
            if path.startswith("/connection"):
                await client.send(json.dumps({"id": 1, "connect": {"token": token_for("7")}}))
            await send(client, frame, 100)
            _, code = await end_of(client)
            assert code in (DisconnectCode.TOO_MANY_REQUESTS, DisconnectCode.TOO_MANY_ERRORS, CloseCode.TOO_BIG)
    wait_until(lambda: memory_bytes(strict) - before < KEPT_BYTES, what="the memory is given back")


def test_flooder_that_does_not_read_leaves_nothing(strict: GatewayProcess) -> None:
    """Pings and frames without a look at the answers: what waits is bounded, and freed with the connection."""
    before = memory_bytes(strict)
    ping, text = b"\x89\xfd" + b"\0" * 129, b"\x81\x81\0\0\0\0" + b"1"
    for flood in (ping * 500, text * 500):
        client = join(strict, "chat:deaf", receive_buffer=4096)
        client.settimeout(3)
        with contextlib.suppress(OSError):
            for _ in range(1_000):
                client.sendall(flood)
                assert memory_bytes(strict) - before < 30_000_000
        client.close()
    wait_until(lambda: memory_bytes(strict) - before < KEPT_BYTES, what="the memory is given back")
