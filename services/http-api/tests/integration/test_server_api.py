"""POST /api/<method>, through gunicorn, on both databases and a real Redis."""

from __future__ import annotations

import base64
import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from clarion.orders import Disconnect, Order, Refresh, Subscribe, Unsubscribe
from clarion.streams import Position
from clarion.tokens import Override, SubsOptions
from clarion.tokens.claims import Flag
from tests.support.redis_server import RedisServer
from tests.support.redis_server import redis_server as running_redis

from .conftest import StartService
from .control_bus import AnsweringGateway, ControlEar
from .http_service import Answer, HttpService
from .test_publishing import Listener

SCOPES = {
    "publish": "publish",
    "broadcast": "publish",
    "subscribe": "control",
    "unsubscribe": "control",
    "disconnect": "control",
    "refresh": "control",
    "presence": "read",
    "presence_stats": "read",
    "history": "read",
    "history_remove": "control",
    "channels": "read",
    "info": "read",
}
ORDERS: list[tuple[str, dict[str, Any], Order]] = [
    (
        "subscribe",
        {
            "user": "7",
            "channel": "kept:x",
            "client": "c1",
            "session": "s1",
            "info": {"a": []},
            "data": [None, {}],
            "expire_at": 5_000_000_000,
            "recover_since": {"offset": 3, "epoch": "e"},
            "override": {"presence": {"value": True}, "join_leave": {"value": False}},
        },
        Subscribe(
            user="7",
            client="c1",
            session="s1",
            channel="kept:x",
            options=SubsOptions(
                info={"a": []}, data=[None, {}], override=Override(presence=Flag(True), join_leave=Flag(False))
            ),
            since=Position(3, "e"),
            expires_at=5_000_000_000,
        ),
    ),
    (
        "subscribe",
        {"user": "7", "channel": "#7", "b64info": base64.b64encode(b'{"b": 1}').decode(), "b64data": "Mg=="},
        Subscribe(user="7", channel="#7", options=SubsOptions(info={"b": 1}, data=2)),
    ),
    (
        "unsubscribe",
        {"user": "7", "channel": "chat:x", "client": "c"},
        Unsubscribe(user="7", channel="chat:x", client="c"),
    ),
    ("unsubscribe", {"user": ""}, Unsubscribe(user="")),
    ("disconnect", {"user": "7"}, Disconnect(user="7", code=3503, reason="force disconnect")),
    (
        "disconnect",
        {"user": "7", "session": "s", "whitelist": ["a", "b"], "disconnect": {"code": 4321, "reason": "go away"}},
        Disconnect(user="7", session="s", whitelist=["a", "b"], code=4321, reason="go away"),
    ),
    ("refresh", {"user": "7", "expire_at": 12, "info": {"n": 1}}, Refresh(user="7", expires_at=12, info={"n": 1})),
    ("refresh", {"user": "7", "expired": True, "client": "c"}, Refresh(user="7", expired=True, client="c")),
]


def call(service: HttpService, method: str, document: Any = None, **options: Any) -> Answer:
    """Call a method, with the admin's key unless told otherwise."""
    return service.post(f"/api/{method}", {} if document is None else document, **{"key": "admin", **options})


def result(service: HttpService, method: str, document: Any = None, **options: Any) -> Any:
    """What a method answers; fails if that is an error."""
    answer = call(service, method, document, **options)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"result"}, answer.body
    return answer.json()["result"]


def error(service: HttpService, method: str, document: Any = None, **options: Any) -> int:
    """The number of the error that a method answers."""
    answer = call(service, method, document, **options)
    assert answer.status == 200, answer.body
    assert answer.json().keys() == {"error"}
    assert answer.json()["error"].keys() == {"code", "message"}
    return int(answer.json()["error"]["code"])


# At the door


@pytest.mark.parametrize("method", [*SCOPES, "batch"])
def test_a_call_needs_a_key(service: HttpService, method: str) -> None:
    """No key, and a wrong one, are 401 with a challenge; nothing of the body is looked at."""
    assert call(service, method, raw=b"{", key=None).code == "unauthorized"
    wrong = call(service, method, raw=b"{", key=None, headers={"X-API-Key": "clk_wrong"})
    assert (wrong.status, wrong.code) == (401, "key_invalid")


@pytest.mark.parametrize("method", SCOPES)
def test_a_key_may_what_its_scope_says(service: HttpService, method: str) -> None:
    """The method's scope and admin pass; any other is 403, and the scope that is needed is named."""
    for scope in ("publish", "read", "control", "notify", "admin"):
        answer = call(
            service, method, {"user": "nobody", "channel": "a b"} if method == "disconnect" else {}, key=scope
        )
        if scope not in {SCOPES[method], "admin"}:
            assert (answer.status, answer.code) == (403, "scope_missing")
            assert SCOPES[method] in answer.json()["detail"]
        elif method == "disconnect":
            assert answer.code == "request_invalid"  # it has no channel
        else:
            assert answer.status == 200


@pytest.mark.parametrize(
    "header", ["X-API-Key:", "Authorization: Bearer", "Authorization: apikey", "Authorization: ApiKey"]
)
def test_a_key_is_taken_in_either_header(service: HttpService, header: str) -> None:
    """As Centrifugo's clients of all ages send it, and as our own API does."""
    name, _, scheme = header.partition(":")
    key = {name: f"{scheme.strip()} {service.keys['publish']}".strip()}
    assert result(service, "publish", {"channel": "chat:x", "data": 1}, key=None, headers=key) == {}


def test_a_key_in_the_url_is_no_key(service: HttpService) -> None:
    """URLs are logged."""
    assert call(service, f"info?api_key={service.keys['admin']}", key=None).status == 401


@pytest.mark.parametrize(
    "path", ["/api/rpc", "/api/connections", "/api/publish/", "/api/", "/api/PUBLISH", "/api/v1/publish"]
)
def test_an_unknown_method_is_404(service: HttpService, path: str) -> None:
    """A problem document, as everywhere under /api/."""
    answer = service.post(path, {}, key="admin")
    assert (answer.status, answer.code) == (404, "not_found")


def test_a_method_takes_post_alone(service: HttpService) -> None:
    """405, and Allow says what would do."""
    answer = service.request("GET", "/api/info", headers={"X-API-Key": service.keys["admin"]})
    assert (answer.status, answer.code, answer.headers["allow"]) == (405, "method_not_allowed", "POST")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"{", "json_malformed"),
        (b"nonsense", "json_malformed"),
        (b'{"data": NaN}', "data_invalid"),
        (b"[]", "request_invalid"),
        (b'"text"', "request_invalid"),
        (b'{"channel": 7}', "request_invalid"),
        (b'{"chanel": "chat:x"}', "request_invalid"),
        (b"[" * 100_000, "data_invalid"),
    ],
)
def test_a_malformed_body_is_400(service: HttpService, raw: bytes, code: str) -> None:
    """Not JSON, or not this method's: a problem document in both modes."""
    for headers in ({}, {"X-Centrifugo-Error-Mode": "transport"}):
        answer = call(service, "publish", raw=raw, headers=headers)
        assert (answer.status, answer.code) == (400, code)


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_a_body_is_json_whatever_it_is_called(service: HttpService, content_type: str) -> None:
    """curl's --data calls it a form, and Centrifugo's own examples leave it at that."""
    headers = {"Content-Type": content_type}
    assert result(service, "publish", {"channel": "chat:x", "data": 1}, headers=headers) == {}
    form = urlencode({"channel": "chat:x", "data": 1})
    assert call(service, "publish", raw=form, headers=headers).code == "json_malformed"


def test_a_call_without_a_body_is_one_without_fields(service: HttpService) -> None:
    """``info`` needs none."""
    for content_type in ("application/json", "application/x-www-form-urlencoded"):
        answer = call(service, "info", raw=b"", headers={"Content-Type": content_type})
        assert answer.json() == {"result": {"nodes": []}}


def test_a_large_body_is_413_before_it_is_read(service: HttpService) -> None:
    """A method's body holds one publication; a broadcast's and a batch's up to any body's limit."""
    too_large = 9 * 65_536 + 1024 + 1
    assert call(service, "publish", raw=b" " * too_large).code == "body_too_large"
    document = {"channels": ["chat:" + "x" * 195] * 1_000, "data": "x" * 65_000, "tags": {}}
    padded = json.dumps(document).encode() + b" " * too_large
    assert call(service, "broadcast", raw=padded).status == 200
    assert call(service, "batch", raw=b'{"commands": []}' + b" " * too_large).json() == {"replies": []}
    assert call(service, "batch", raw=b" " * (10 * 1024 * 1024 + 1)).code == "body_too_large"


def test_a_chunked_body_is_411(service: HttpService) -> None:
    """WSGI would show it as an empty one."""
    client = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    client.request("POST", "/api/info", iter([b"{}"]), {"X-API-Key": service.keys["admin"]})
    response = client.getresponse()
    assert (response.status, json.loads(response.read())["code"]) == (411, "length_required")
    client.close()


def test_an_error_is_a_status_in_transport_mode(service: HttpService) -> None:
    """Centrifugo's statuses, with the error alone as the body."""
    transport = {"X-Centrifugo-Error-Mode": "transport"}
    wanted = {
        ("publish", "nosuch:x"): (404, 102),
        ("publish", "a b"): (400, 107),
        ("history", "chat:x"): (400, 108),
        ("presence", "chat:x"): (400, 108),
    }
    for (method, channel), told in wanted.items():
        document = {"channel": channel, **({"data": 1} if method == "publish" else {})}
        answer = call(service, method, document, headers=transport)
        assert (answer.status, answer.json()["code"]) == told
        assert answer.json().keys() == {"code", "message"}
        assert error(service, method, document) == told[1]
    personal = call(service, "subscribe", {"user": "8", "channel": "#7"}, headers=transport)
    assert (personal.status, personal.json()["code"]) == (403, 103)


# Publishing


def test_publish_reaches_subscribers(service: HttpService, shared_redis_url: str) -> None:
    """A plain channel's result is empty; tags and the delta flag travel along."""
    channel = f"chat:{uuid4().hex}"
    listener = Listener(shared_redis_url, service, channel)
    try:
        assert result(service, "publish", {"channel": channel, "data": {"a": [{}]}}) == {}
        assert result(service, "publish", {"channel": channel, "data": None, "tags": {"k": "v"}, "delta": True}) == {}
        b64data = base64.b64encode('{"ä": 1}'.encode()).decode()
        assert result(service, "publish", {"channel": channel, "b64data": b64data}) == {}
        assert [listener.next() for _ in range(3)] == [
            {"type": "clarion.publication", "data": {"a": [{}]}},
            {"type": "clarion.publication", "data": None, "tags": {"k": "v"}, "delta": True},
            {"type": "clarion.publication", "data": {"ä": 1}},
        ]
    finally:
        listener.close()


def test_publish_to_a_channel_with_history_tells_its_place(service: HttpService) -> None:
    """Offset and epoch; a repeated key gets the first ones; past the history there are none."""
    channel = f"kept:{uuid4().hex}"
    first = result(service, "publish", {"channel": channel, "data": 1, "idempotency_key": "k"})
    assert first.keys() == {"offset", "epoch"}
    assert first["offset"] == 1
    assert result(service, "publish", {"channel": channel, "data": 2, "idempotency_key": "k"}) == first
    assert result(service, "publish", {"channel": channel, "data": 3, "skip_history": True}) == {}
    assert result(service, "publish", {"channel": channel, "data": 4}) == {**first, "offset": 2}


def test_broadcast_answers_for_each_channel(service: HttpService, shared_redis_url: str) -> None:
    """In their order, with an error in the place of one that cannot be; the others are sent to."""
    kept, plain = f"kept:{uuid4().hex}", f"chat:{uuid4().hex}"
    listener = Listener(shared_redis_url, service, plain)
    try:
        answer = result(
            service, "broadcast", {"channels": [kept, "nosuch:x", plain, "", "a b", kept], "data": {"n": 1}}
        )
        responses = answer["responses"]
        assert [response.get("error", {}).get("code") for response in responses] == [None, 102, None, 107, 107, None]
        assert [response["result"].get("offset") for response in responses if "result" in response] == [1, None, 2]
        assert responses[2] == {"result": {}}
        assert listener.next()["data"] == {"n": 1}
    finally:
        listener.close()
    assert error(service, "broadcast", {"channels": [plain] * 1_001, "data": 1}) == 107
    assert len(result(service, "broadcast", {"channels": [plain] * 1_000, "data": 1})["responses"]) == 1_000


# Reading


def test_history_reads_what_is_kept(service: HttpService) -> None:
    """By limit and position, in both directions; without a limit the position alone."""
    channel = f"kept:{uuid4().hex}"
    for number in range(1, 13):  # ten are kept
        tags = {"tags": {"n": str(number)}} if number == 12 else {}
        top = result(service, "publish", {"channel": channel, "data": {"n": number}, **tags})

    def read(**fields: Any) -> list[int]:
        found = result(service, "history", {"channel": channel, **fields})
        assert (found["offset"], found["epoch"]) == (12, top["epoch"])
        assert all(item["data"] == {"n": item["offset"]} for item in found["publications"])
        return [item["offset"] for item in found["publications"]]

    assert read() == read(limit=0) == []
    assert read(limit=2) == [3, 4]
    assert read(limit=-1) == read(limit=1_000_000) == list(range(3, 13))
    assert read(limit=2, reverse=True) == [12, 11]
    assert read(limit=-1, since={"offset": 10, "epoch": top["epoch"]}) == [11, 12]
    assert read(limit=1, since={"offset": 10, "epoch": ""}) == [11]
    assert read(limit=2, since={"offset": 6, "epoch": top["epoch"]}, reverse=True) == [5, 4]
    newest = result(service, "history", {"channel": channel, "limit": 1, "reverse": True})["publications"]
    assert newest == [{"data": {"n": 12}, "offset": 12, "tags": {"n": "12"}}]


def test_history_of_another_epoch_is_112(service: HttpService) -> None:
    """The stream that the caller knows is gone: offsets of this one mean nothing to it."""
    channel = f"kept:{uuid4().hex}"
    result(service, "publish", {"channel": channel, "data": 1})
    document = {"channel": channel, "limit": 1, "since": {"offset": 0, "epoch": "gone"}}
    assert error(service, "history", document) == 112
    answer = call(service, "history", document, headers={"X-Centrifugo-Error-Mode": "transport"})
    assert (answer.status, answer.json()["code"]) == (416, 112)


def test_history_remove_keeps_the_position(service: HttpService) -> None:
    """Nothing is left to read; the next publication goes on where the stream was."""
    channel = f"kept:{uuid4().hex}"
    top = result(service, "publish", {"channel": channel, "data": 1})
    assert result(service, "history_remove", {"channel": channel}) == {}
    assert result(service, "history", {"channel": channel, "limit": -1}) == {"publications": [], **top}
    assert result(service, "publish", {"channel": channel, "data": 2}) == {**top, "offset": 2}
    assert error(service, "history_remove", {"channel": "chat:x"}) == 108


# Orders


@pytest.mark.parametrize(("method", "document", "order"), ORDERS)
def test_an_order_goes_to_all_gateways(
    service: HttpService, shared_redis_url: str, method: str, document: dict[str, Any], order: Order
) -> None:
    """Every field arrives; the result is empty, whether anybody was there or not."""
    assert result(service, method, document, key="control") == {}
    with ControlEar(shared_redis_url, service) as first, ControlEar(shared_redis_url, service) as second:
        assert result(service, method, document, key="control") == {}
        assert first.next() == second.next() == order


# Surveys


def test_channels_adds_up_what_the_gateways_tell(service: HttpService, shared_redis_url: str) -> None:
    """Each gateway's parts, and of all gateways the sum; the pattern is theirs to apply."""
    with (
        AnsweringGateway(shared_redis_url, service, "g1", [{"chat:a": 2}, {"chat:b": 1}, {}]) as first,
        AnsweringGateway(shared_redis_url, service, "g2", [{"chat:a": 3, "#7": 1}]),
    ):
        found = result(service, "channels", {"pattern": "{chat:*,#*}"}, key="read")
        assert found == {
            "channels": {"#7": {"num_clients": 1}, "chat:a": {"num_clients": 5}, "chat:b": {"num_clients": 1}}
        }
        assert list(found["channels"]) == ["#7", "chat:a", "chat:b"]
        assert first.patterns == ["{chat:*,#*}"]
        assert result(service, "channels")["channels"].keys() == {"#7", "chat:a", "chat:b"}


def test_channels_without_a_gateway_are_none(service: HttpService) -> None:
    """Nobody listens: nobody is waited for."""
    start = time.monotonic()
    assert result(service, "channels") == {"channels": {}}
    assert time.monotonic() - start < 1.9


def test_channels_passes_over_who_is_no_gateway(service: HttpService, shared_redis_url: str) -> None:
    """Somebody else who listens, and nonsense on the reply channel, keep nobody from an answer."""
    with (
        ControlEar(shared_redis_url, service),
        AnsweringGateway(shared_redis_url, service, "g1", [{"chat:a": 1}], raw=b"nonsense"),
    ):
        assert result(service, "channels") == {"channels": {"chat:a": {"num_clients": 1}}}


def test_channels_is_an_error_when_a_live_gateway_is_silent(service: HttpService, shared_redis_url: str) -> None:
    """Error 100 after the deadline, and not a part of the truth."""
    with (
        AnsweringGateway(shared_redis_url, service, "g1", [{"chat:a": 1}]),
        AnsweringGateway(shared_redis_url, service, "g2"),
    ):
        start = time.monotonic()
        answer = call(service, "channels", headers={"X-Centrifugo-Error-Mode": "transport"})
        assert (answer.status, answer.json()["code"]) == (504, 100)
        assert "retry-after" in answer.headers
        assert 1.5 < time.monotonic() - start < 20


def test_channels_of_a_gateway_that_breaks_off_is_an_error(service: HttpService, shared_redis_url: str) -> None:
    """Parts without the last one are no answer."""
    parts = [{"chat:a": 1}, {"chat:b": 1}]
    with AnsweringGateway(shared_redis_url, service, "g1", parts, breaks_off=True):
        assert error(service, "channels") == 100


def test_surveys_leave_threads_for_the_rest(service: HttpService, shared_redis_url: str) -> None:
    """While half of the threads wait for a silent gateway, another survey is 111, and a publish is done."""
    with AnsweringGateway(shared_redis_url, service, "g1"), ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(error, service, "channels") for _ in range(3)]
        assert result(service, "publish", {"channel": "chat:x", "data": 1}) == {}
        assert sorted(one.result() for one in asking) == [100, 100, 111]


def test_info_tells_the_gateways_that_live(service: HttpService, shared_redis_url: str) -> None:
    """By name, with what their last heartbeat said."""
    with ExitStack() as stack:
        for uid in ("g2", "g1"):
            stack.enter_context(AnsweringGateway(shared_redis_url, service, uid, [{}]))
        nodes = result(service, "info", key="read")["nodes"]
    counts = {"num_clients": 0, "num_subs": 0, "num_users": 0, "num_channels": 0}
    assert nodes == [
        {"uid": uid, "name": f"name-of-{uid}", "version": "1", "uptime": 7, **counts} for uid in ("g1", "g2")
    ]


def test_shards_are_asked_where_each_name_lives(start_service: StartService, redis_server: RedisServer) -> None:
    """With two Redis servers questions, answers, orders and streams find each other, whatever the random names."""
    with running_redis() as other:
        urls = f"{redis_server.url},{other.url}"
        service = start_service(urls)
        with AnsweringGateway(urls, service, "g1", [{"chat:a": 1}]):
            for _ in range(10):  # the name to reply to is random, and so is its shard
                assert result(service, "channels") == {"channels": {"chat:a": {"num_clients": 1}}}
            assert [node["uid"] for node in result(service, "info")["nodes"]] == ["g1"]
        channels = [f"kept:{number}" for number in range(20)]
        responses = result(service, "broadcast", {"channels": channels, "data": 1})["responses"]
        assert {response["result"]["offset"] for response in responses} == {1}
        assert all(
            len(result(service, "history", {"channel": name, "limit": 9})["publications"]) == 1 for name in channels
        )
        service.stop()
        assert "Traceback" not in service.log


# Batches


def replies(service: HttpService, commands: list[Any], **options: Any) -> Any:
    """The replies to a batch."""
    answer = call(service, "batch", {"commands": commands, "parallel": False}, **options)
    assert answer.status == 200, answer.body
    assert answer.json().keys() == {"replies"}
    return answer.json()["replies"]


def test_batch_does_one_command_after_the_other(service: HttpService) -> None:
    """Each reply stands under its method's name, or is an error, in transport mode too."""
    channel = f"kept:{uuid4().hex}"
    commands = [
        {"publish": {"channel": channel, "data": {"n": 1}}},
        {"publish": {"channel": "nosuch:x", "data": 1}},
        {"broadcast": {"channels": [channel, "chat:x"], "data": {"n": 2}}},
        {"history": {"channel": channel, "limit": 10}},
        {"history_remove": {"channel": channel}},
        {"disconnect": {"user": "nobody"}},
        {"nosuch": {}},
        {"info": {}},
    ]
    answers = replies(service, commands, headers={"X-Centrifugo-Error-Mode": "transport"})
    epoch = answers[0]["publish"]["epoch"]
    assert answers[0] == {"publish": {"offset": 1, "epoch": epoch}}
    assert answers[1]["error"]["code"] == 102
    assert answers[2] == {"broadcast": {"responses": [{"result": {"offset": 2, "epoch": epoch}}, {"result": {}}]}}
    assert [item["data"]["n"] for item in answers[3]["history"]["publications"]] == [1, 2]
    assert answers[4:6] == [{"history_remove": {}}, {"disconnect": {}}]
    assert answers[6]["error"]["code"] == 104
    assert answers[7] == {"info": {"nodes": []}}


def test_batch_needs_each_commands_scope(service: HttpService) -> None:
    """A key that may publish publishes; what it may not is 103 in its place."""
    commands = [{"publish": {"channel": "chat:x", "data": 1}}, {"info": {}}, {"disconnect": {"user": "7"}}]
    answers = replies(service, commands, key="publish")
    assert answers[0] == {"publish": {}}
    assert [answer["error"]["code"] for answer in answers[1:]] == [103, 103]


def test_batch_with_a_malformed_command_does_nothing(service: HttpService) -> None:
    """400 names the command; those before it are not done."""
    channel = f"kept:{uuid4().hex}"
    commands = [{"publish": {"channel": channel, "data": 1}}, {"publish": {"chanel": channel}}]
    answer = call(service, "batch", {"commands": commands})
    assert (answer.status, answer.code) == (400, "request_invalid")
    assert "commands[1].publish" in answer.json()["detail"]
    assert result(service, "history", {"channel": channel})["offset"] == 0


# Faults


def test_redis_away_is_error_100_at_once(start_service: StartService, redis_server: RedisServer) -> None:
    """Within the timeout and a little, whatever the method; and it works again when Redis is back."""
    service = start_service(redis_server.url)
    documents: dict[str, dict[str, Any]] = {
        "publish": {"channel": "kept:x", "data": 1},
        "disconnect": {"user": "7"},
        "history": {"channel": "kept:x"},
        "channels": {},
        "info": {},
    }
    for method, document in documents.items():
        result(service, method, document)
    redis_server.pause()
    for method, document in documents.items():
        start = time.monotonic()
        assert error(service, method, document) == 100
        assert time.monotonic() - start < 10
    answer = call(service, "publish", documents["publish"], headers={"X-Centrifugo-Error-Mode": "transport"})
    assert (answer.status, answer.json()["code"], answer.headers["retry-after"]) == (503, 100, "1")
    responses = result(service, "broadcast", {"channels": ["kept:x", "nosuch:x"], "data": 1})["responses"]
    assert [response["error"]["code"] for response in responses] == [100, 102]
    redis_server.resume()
    end = time.monotonic() + 30
    while "error" in call(service, "publish", documents["publish"]).json():
        assert time.monotonic() < end
        time.sleep(0.1)
    service.stop()
    assert "Traceback" not in service.log
