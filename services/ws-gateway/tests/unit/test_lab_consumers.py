"""ws_gateway.lab.consumers: the lessons that answer each message, by Channels' own test client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from channels.consumer import AsyncConsumer
from channels.testing import WebsocketCommunicator

from ws_gateway.lab.consumers.async_consumer import AsyncLesson
from ws_gateway.lab.consumers.async_json_websocket_consumer import AsyncJsonWebsocketLesson
from ws_gateway.lab.consumers.async_websocket_consumer import AsyncWebsocketLesson
from ws_gateway.lab.consumers.json_both_ways import JsonLesson
from ws_gateway.lab.consumers.json_websocket_consumer import JsonWebsocketLesson
from ws_gateway.lab.consumers.subprotocol import SubprotocolLesson
from ws_gateway.lab.consumers.sync_consumer import SyncLesson
from ws_gateway.lab.consumers.websocket_consumer import WebsocketLesson
from ws_gateway.lab.frames import BINARY_MAX_BYTES

pytestmark = pytest.mark.usefixtures("memory_layer")

PLAIN = [SyncLesson, AsyncLesson]
GENERIC = [WebsocketLesson, AsyncWebsocketLesson]
OF_JSON = [JsonWebsocketLesson, AsyncJsonWebsocketLesson]
TIMEOUT_S = 30

Consumer = type[AsyncConsumer]


async def connected(consumer: Consumer, path: str = "/") -> WebsocketCommunicator:
    client = WebsocketCommunicator(consumer.as_asgi(), path)
    assert await client.connect(TIMEOUT_S) == (True, None)
    return client


async def answer_of(client: WebsocketCommunicator, text: str | None = None, data: bytes | None = None) -> Any:
    """The one answer to a frame, parsed as a browser does; bytes as they are."""
    await client.send_input({"type": "websocket.receive", "text": text, "bytes": data})
    answer = await client.receive_from(TIMEOUT_S)
    return json.loads(answer, parse_constant=pytest.fail) if isinstance(answer, str) else answer


async def ended(client: WebsocketCommunicator) -> None:
    """The client leaves, the consumer stops by itself, having said nothing more."""
    await client.disconnect(1000, TIMEOUT_S)
    assert client.future.done()
    assert not client.future.cancelled()
    assert client.output_queue.empty()


@pytest.mark.parametrize("consumer", [*PLAIN, *GENERIC, *OF_JSON])
async def test_consumer_answers_each_message_and_stops(consumer: Consumer) -> None:
    """Accept, answer twice in order, end with the client."""
    client = await connected(consumer)
    for msg in ("hello", "<b>ä</b> 🙂"):
        assert await answer_of(client, json.dumps({"msg": msg})) == {"msg": msg}
    await ended(client)


@pytest.mark.parametrize("consumer", [*PLAIN, *GENERIC, *OF_JSON, JsonLesson])
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "json_malformed"), ("", "json_malformed"), ("[" * 30_000, "json_malformed"), ("NaN", "data_invalid"),
        ('{"msg": "a", "n": NaN}', "data_invalid"), ('{"message": "a"}', "data_invalid"), ("[]", "data_invalid"),
        (json.dumps({"msg": "x" * 5_000}), "message_too_large"), ("x" * 100_000, "message_too_large"),
    ],
)  # fmt: skip
async def test_consumer_answers_bad_input_and_lives(consumer: Consumer, text: str, code: str) -> None:
    """An error frame with a stable code, after which the socket serves as before."""
    client = await connected(consumer)
    answer = await answer_of(client, text)
    assert list(answer) == ["error"]
    assert answer["error"]["code"] == code
    assert (await answer_of(client, '{"msg": "again"}'))["msg"] == "again"
    await ended(client)


@pytest.mark.parametrize("consumer", [*PLAIN, *OF_JSON, JsonLesson])
async def test_consumer_of_text_answers_a_binary_frame(consumer: Consumer) -> None:
    """Stock JSON consumers end with an exception; these say what they take."""
    client = await connected(consumer)
    for data in (b"\xff", b""):
        assert (await answer_of(client, data=data))["error"]["code"] == "data_invalid"
    await ended(client)


@pytest.mark.parametrize("consumer", GENERIC)
async def test_generic_consumer_answers_bytes_with_bytes(consumer: Consumer) -> None:
    """The same bytes, as a binary frame; the empty frame too; not more than the bound."""
    client = await connected(consumer)
    for data in (b"\x00\xff", b"", bytes(BINARY_MAX_BYTES)):
        assert await answer_of(client, data=data) == data
    assert (await answer_of(client, data=bytes(BINARY_MAX_BYTES + 1)))["error"]["code"] == "message_too_large"
    await ended(client)


async def test_json_lesson_counts_in_a_number() -> None:
    """Both types of JSON that a page needs: text back as it came, and a number that is a number."""
    client = await connected(JsonLesson)
    assert await answer_of(client, '{"msg": "\\u00e4b"}') == {"msg": "äb", "characters": 2}
    await ended(client)


async def test_json_lesson_says_where_it_broke() -> None:
    """What json.loads says, so that a reader finds the place."""
    client = await connected(JsonLesson)
    assert "line 1 column 9" in (await answer_of(client, '{"msg": }'))["error"]["message"]
    await ended(client)


@pytest.mark.parametrize(
    "consumer", [*PLAIN, *GENERIC, *OF_JSON, JsonLesson, SubprotocolLesson], ids=lambda consumer: consumer.__name__
)
async def test_consumer_stops_before_it_has_said_anything(consumer: Consumer) -> None:
    """A client that leaves at once leaves nothing behind."""
    client = WebsocketCommunicator(consumer.as_asgi(), "/")
    await client.connect(TIMEOUT_S)
    await client.disconnect(1001, TIMEOUT_S)
    assert client.future.done()
