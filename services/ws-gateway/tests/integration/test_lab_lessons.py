"""The lab's lessons without a group, in a real gateway: each path answers, and a handshake decides."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.waiting import DEADLINE_S

from .conftest import GatewayProcess, received

pytestmark = pytest.mark.timeout(90)


def lab(gateway: GatewayProcess, path: str, **options: Any) -> connect:
    return connect(f"ws://127.0.0.1:{gateway.port}/ws/lab/{path}", open_timeout=DEADLINE_S, compression=None, **options)


@pytest.mark.parametrize("path", ["sc/", "ac/", "json/", "wsc/", "awsc/", "jwc/", "ajwc/"])
async def test_lesson_answers_text_and_binary_and_takes_a_close_code(shared_gateway: GatewayProcess, path: str) -> None:
    """Every path of the table: an answer, an error frame, bytes or their refusal, and the client's own code."""
    async with lab(shared_gateway, path) as socket:
        await socket.send('{"msg": "<b>hello</b>"}')
        assert (await received(socket, 1))[0]["msg"] == "<b>hello</b>"
        await socket.send("{")
        assert (await received(socket, 1))[0]["error"]["code"] == "json_malformed"
        await socket.send(b"\x00\xff")
        if path in ("wsc/", "awsc/"):
            assert await socket.recv() == b"\x00\xff"
        else:
            assert (await received(socket, 1))[0]["error"]["code"] == "data_invalid"
        await socket.close(4321, "enough")
        assert (socket.close_code, socket.close_reason) == (4321, "enough")


async def test_subprotocol_lesson_shows_the_scope_without_secrets(shared_gateway: GatewayProcess) -> None:
    """The newest known is chosen; cookie, token and session stay where they are."""
    headers = {"Cookie": "clarion_session=s3cr3t", "Authorization": "Bearer s3cr3t", "X-Api-Key": "s3cr3t"}
    client = lab(
        shared_gateway,
        "subprotocol/?token=s3cr3t",
        subprotocols=["lab.v1", "s3cr3t", "lab.v2"],
        additional_headers=headers,
    )
    async with client as socket:
        assert socket.subprotocol == "lab.v2"
        assert socket.response is not None
        assert socket.response.headers["X-Lab-Lesson"] == "subprotocol"
        first = await socket.recv()
        assert isinstance(first, str)
        assert "s3cr3t" not in first
        assert socket.request is not None
        assert socket.request.headers["Sec-WebSocket-Key"] not in first
        assert {"headers", "cookies", "session", "user", "url_route"} <= set(json.loads(first)["scope"])


@pytest.mark.parametrize(("query", "offered"), [("?refuse=1", ["lab.v1"]), ("?refuse=1", None), ("", ["unknown"])])
async def test_subprotocol_lesson_refuses_with_a_code_that_arrives(
    shared_gateway: GatewayProcess, query: str, offered: Any
) -> None:
    """4123 and its reason, after a handshake that succeeded."""
    async with lab(shared_gateway, f"subprotocol/{query}", subprotocols=offered) as socket:
        assert socket.subprotocol == (offered and offered[0])
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 4123
        assert socket.close_reason


async def test_subprotocol_lesson_refuses_at_the_handshake(shared_gateway: GatewayProcess) -> None:
    """A close before the accept is HTTP 403, and its code is lost."""
    with pytest.raises(InvalidStatus) as caught:
        await lab(shared_gateway, "subprotocol/?refuse=handshake")
    assert caught.value.response.status_code == 403
