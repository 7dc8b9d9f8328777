"""POST /api/v1/channels/{channel}/publications, through gunicorn, on both databases."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from channels_redis.serializers import registry

from .http_service import HttpService

MSGPACK = registry.get_serializer("msgpack")


class Listener:
    """Subscribed to one group as the stock pub/sub layer is."""

    def __init__(self, url: str, service: HttpService, channel: str) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=30)
        self._pubsub = self._client.pubsub()
        self._pubsub.subscribe(f"{service.prefix}__group__{channel}")
        assert self._pubsub.get_message(timeout=30)

    def next(self) -> Any:
        """The next message, decoded."""
        message = self._pubsub.get_message(timeout=30)
        assert message, "nothing arrived"
        return MSGPACK.deserialize(message["data"])

    def close(self) -> None:
        """Unsubscribe."""
        self._pubsub.close()
        self._client.close()


DATA = [None, True, 0, -1.5, "", "ä\u0000\U0001f600", [], {}, {"a": [{"b": None}]}, 2**64 - 1, -(2**63)]


@pytest.mark.parametrize("data", DATA, ids=repr)
def test_publish_delivers_any_json_value(service: HttpService, shared_redis_url: str, data: Any) -> None:
    """202 with channel and a UUIDv7; subscribers receive an equal value in the one message shape."""
    listener = Listener(shared_redis_url, service, "chat:room")
    try:
        answer = service.publish("chat:room", data)
        assert answer.status == 202, answer.body
        assert answer.json()["channel"] == "chat:room"
        assert answer.json().keys() == {"channel", "id"}
        assert UUID(answer.json()["id"]).version == 7
        assert listener.next() == {"type": "clarion.publication", "data": data}
    finally:
        listener.close()


def test_publish_to_a_channel_with_history_tells_its_place(service: HttpService, shared_redis_url: str) -> None:
    """Offset and epoch are in the answer and in what subscribers receive; tags travel along."""
    channel = f"kept:{uuid4().hex}"
    listener = Listener(shared_redis_url, service, channel)
    try:
        answers = [service.publish(channel, raw=b'{"data": {}, "tags": {"k": "v"}}').json() for _ in range(2)]
        assert [answer["offset"] for answer in answers] == [1, 2]
        heard = [listener.next() for _ in range(2)]
        assert [(message["offset"], message["epoch"]) for message in heard] == [
            (answer["offset"], answer["epoch"]) for answer in answers
        ]
        assert all((message["data"], message["tags"]) == ({}, {"k": "v"}) for message in heard)
    finally:
        listener.close()


@pytest.mark.parametrize("namespace", ["chat", "kept"])
def test_publish_with_a_repeated_key_sends_nothing(service: HttpService, shared_redis_url: str, namespace: str) -> None:
    """The first answer again, whatever the repeat says; with history and without."""
    channel = f"{namespace}:{uuid4().hex}"
    listener = Listener(shared_redis_url, service, channel)
    try:
        first = service.publish(channel, raw=b'{"data": 1, "idempotency_key": "a b \xc3\xa9"}')
        again = service.publish(channel, raw=b'{"data": 2, "idempotency_key": "a b \xc3\xa9"}')
        assert first.status == again.status == 202
        assert first.json() == again.json()
        assert service.publish(channel, 3).status == 202
        assert [listener.next()["data"] for _ in range(2)] == [1, 3]
    finally:
        listener.close()


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (b'{"data": 1, "idempotency_key": ""}', "#/idempotency_key"),
        (b'{"data": 1, "idempotency_key": 7}', "#/idempotency_key"),
        (b'{"data": 1, "idempotency_key": null}', "#/idempotency_key"),
        (b'{"data": 1, "idempotency_key": "' + b"x" * 201 + b'"}', "#/idempotency_key"),
        (b'{"data": 1, "tags": {"a": 1}}', "#/tags"),
        (b'{"data": 1, "tags": []}', "#/tags"),
        (b'{"data": 1, "tags": ""}', "#/tags"),
        (b'{"data": 1, "tags": {"a": "' + b"x" * 5_000 + b'"}}', "#/tags"),
    ],
)
def test_publish_refuses_bad_keys_and_tags_with_400(service: HttpService, raw: bytes, pointer: str) -> None:
    """The field that is wrong is told."""
    answer = service.publish("kept:bad", raw=raw)
    assert (answer.status, answer.code) == (400, "validation_failed"), answer.body
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("written", "channel"),
    [
        ("%23" + "42", "#42"),
        ("chat%3Aroom-1", "chat:room-1"),
        ("chat:a,b;c=d&e+f!$'()@~^`{|}[]<>", "chat:a,b;c=d&e+f!$'()@~^`{|}[]<>"),
        ("chat:%7E", "chat:~"),
        ("chat:" + "x" * 195, "chat:" + "x" * 195),
    ],
)
def test_publish_decodes_the_channel_in_the_path(
    service: HttpService, shared_redis_url: str, written: str, channel: str
) -> None:
    """The channel stands percent-encoded in the path; a plus is a plus."""
    listener = Listener(shared_redis_url, service, channel)
    try:
        answer = service.publish(written)
        assert (answer.status, answer.json().get("channel")) == (202, channel)
        assert listener.next()["data"] == 1
    finally:
        listener.close()


BAD_NAMES = {
    "": "empty",
    "a%2Fb": "an encoded slash",
    "a/b": "a slash",
    "%2F..%2F..%2Fhealth": "dots and slashes",
    "a%20b": "a space",
    "a%0Ab": "a newline",
    "a%00b": "a NUL",
    "a%25": "a percent sign",
    "a%3Fb": "a question mark",
    "a%22": "a quotation mark",
    "a%5Cb": "a backslash",
    "a*": "an asterisk",
    "%C3%A4": "no ASCII",
    "%FF%FE": "no UTF-8",
    "%ED%A0%80": "a surrogate",
    "x" * 201: "too long",
    "%23": "nobody's personal channel",
    "%23a%2Cb": "a comma in a user id",
    "chat:x/publications/publications": "more path",
}


@pytest.mark.parametrize("name", BAD_NAMES, ids=BAD_NAMES.values())
def test_publish_refuses_a_bad_channel_name_with_400(service: HttpService, name: str) -> None:
    """A bad name is name_invalid and says which rule, never 404 and never 500."""
    answer = service.publish(name)
    assert (answer.status, answer.code) == (400, "name_invalid"), answer.body


@pytest.mark.parametrize("channel", ["nosuch:room", "plain", ":x"])
def test_publish_refuses_an_unknown_namespace_with_404(service: HttpService, channel: str) -> None:
    """What clarion.toml does not define does not exist."""
    answer = service.publish(channel)
    assert (answer.status, answer.code) == (404, "namespace_unknown")


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"nonsense", b'{"data": 1}x', b'{"data": 1,}', b'{"data": \xff}', b"{'data': 1}",
     b'\xef\xbb\xbf{"data":1}'],
)  # fmt: skip
def test_publish_refuses_malformed_json_with_400(service: HttpService, raw: bytes) -> None:
    """What is not JSON is json_malformed; nothing at all is a missing field."""
    answer = service.publish("chat:room", raw=raw)
    assert (answer.status, answer.code) == (400, "json_malformed" if raw else "validation_failed")


@pytest.mark.parametrize(
    "data",
    ["NaN", "Infinity", "-Infinity", "1e999", str(2**64), str(-(2**63) - 1), '"\\ud800"', '{"\\udfff": 1}',
     "[" * 129 + "]" * 129, "[" * 100_000 + "]" * 100_000],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_publish_refuses_what_cannot_travel_with_400(service: HttpService, data: str) -> None:
    """JSON by its form, but not by its value: data_invalid."""
    answer = service.publish("chat:room", raw=f'{{"data": {data}}}')
    assert (answer.status, answer.code) == (400, "data_invalid"), answer.body


def test_publish_takes_nesting_up_to_the_limit(service: HttpService) -> None:
    """128 levels of data travel: the wrapping object does not count."""
    answer = service.publish("chat:room", raw=f'{{"data": {"[" * 128 + "]" * 128}}}')
    assert answer.status == 202, answer.body


@pytest.mark.parametrize(
    ("document", "errors"),
    [
        ({}, {"#/data": "required"}),
        ({"data": 1, "dta": 2, "x/~": 3}, {"#/dta": "unknown", "#/x~1~0": "unknown"}),
        ({"date": 1}, {"#/data": "required", "#/date": "unknown"}),
        ([1], {"#": "invalid"}),
        (7, {"#": "invalid"}),
        (None, {"#": "null"}),
    ],
)
def test_publish_tells_wrong_fields(service: HttpService, document: Any, errors: dict[str, str]) -> None:
    """Each missing or unknown field is told, by its JSON pointer."""
    answer = service.post("/api/v1/channels/chat:room/publications", raw=json.dumps(document), key="publish")
    assert (answer.status, answer.code) == (400, "validation_failed")
    assert {error["pointer"]: error["code"] for error in answer.json()["errors"]} == errors


def test_publish_refuses_data_over_the_limit_with_413(service: HttpService) -> None:
    """The limit holds for the compact JSON in bytes: exactly at it passes, one over is publication_too_large."""
    assert service.publish("chat:room", "x" * 65_534).status == 202
    answer = service.publish("chat:room", "x" * 65_535)
    assert (answer.status, answer.code) == (413, "publication_too_large")
    assert answer.json()["title"] == "Content Too Large"
    padded = service.publish("chat:room", raw=b'{"data":' + b" " * 100_000 + b'"x"}')
    assert padded.status == 202, "white space is not data"
    escaped = service.publish("chat:room", raw=b'{"data":"' + b"\\u0041" * 65_534 + b'"}')
    assert escaped.status == 202, "however it is escaped"


def test_publish_refuses_a_large_body_before_reading_it(service: HttpService) -> None:
    """Content-Length over the bound is 413 body_too_large at once, though not a byte of the body was sent."""
    client = service.connection()
    client.putrequest("POST", "/api/v1/channels/chat:room/publications")
    for name, value in {
        "Authorization": f"Bearer {service.keys['publish']}",
        "Content-Type": "application/json",
        "Content-Length": str(9 * 65_536 + 1024 + 1),
    }.items():
        client.putheader(name, value)
    client.endheaders()
    response = client.getresponse()
    assert (response.status, json.loads(response.read())["code"]) == (413, "body_too_large")
    client.close()


def test_publish_answers_413_to_a_client_that_sends_all_of_it(service: HttpService) -> None:
    """A client that sends its 11 MiB before it reads still gets the answer, not a reset."""
    answer = service.publish("chat:room", raw=b"x" * (11 * 1024 * 1024))
    assert (answer.status, answer.code) == (413, "body_too_large")


def test_publish_asks_for_a_length(service: HttpService) -> None:
    """A chunked body, which WSGI would show as empty, is 411."""
    client = service.connection()
    headers = {"Authorization": f"Bearer {service.keys['publish']}", "Content-Type": "application/json"}
    client.request("POST", "/api/v1/channels/chat:room/publications", iter([b'{"data": 1}']), headers)
    response = client.getresponse()
    assert (response.status, json.loads(response.read())["code"]) == (411, "length_required")
    client.close()


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
def test_publish_refuses_another_content_type_with_415(service: HttpService, content_type: str) -> None:
    """Only application/json is read."""
    answer = service.publish("chat:room", headers={"Content-Type": content_type})
    assert (answer.status, answer.code) == (415, "media_type_unsupported")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_publish_takes_json_with_parameters(service: HttpService, content_type: str) -> None:
    """A charset parameter means nothing in JSON (RFC 8259), and a type's case neither."""
    assert service.publish("chat:room", headers={"Content-Type": content_type}).status == 202


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_publications_take_post_alone(service: HttpService, method: str) -> None:
    """405, and Allow says what would do."""
    headers = {"X-API-Key": service.keys["publish"]}
    answer = service.request(method, "/api/v1/channels/chat:room/publications", headers=headers)
    assert (answer.status, answer.code, answer.headers["allow"]) == (405, "method_not_allowed", "POST")


@pytest.mark.parametrize("accept", ["text/html", "image/png", "nonsense"])
def test_answers_are_json_whatever_is_accepted(service: HttpService, accept: str) -> None:
    """The API speaks JSON alone: no 406, no page."""
    assert service.publish("chat:room", headers={"Accept": accept}).headers["content-type"] == "application/json"
    assert service.publish("a%20b", headers={"Accept": accept}).code == "name_invalid"


def test_answers_carry_the_request_id(service: HttpService) -> None:
    """nginx's id comes back and stands in the problem document; a strange one is replaced."""
    answer = service.publish("a*", headers={"X-Request-ID": "0123456789abcdef"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "0123456789abcdef"
    strange = service.publish("a*", headers={"X-Request-ID": 'x" onload="'})
    assert strange.headers["x-request-id"] == strange.json()["request_id"]
    assert len(strange.headers["x-request-id"]) == 32


def test_a_connection_is_kept_through_errors(service: HttpService) -> None:
    """One connection takes good and bad requests in turn, and no answer ends it."""
    client = service.connection()
    start = time.monotonic()
    for _ in range(20):
        assert service.publish("chat:room", connection=client).status == 202
        socket = client.sock
        assert service.publish("a*", connection=client).status == 400
        assert service.publish("chat:room", key="read", connection=client).status == 403
        assert service.publish("chat:room", key="clk_no", raw=b"x" * 1_000_000, connection=client).status == 401
        assert client.sock is socket, "the connection was closed"
    client.close()
    assert time.monotonic() - start < 60
