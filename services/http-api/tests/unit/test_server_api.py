"""http_api.server_api: requests as structs, what is refused before Redis is asked, and the two forms of an error."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from django.test import RequestFactory
from msgspec import UNSET
from rest_framework.request import Request

from clarion import errors
from clarion.errors import ClarionError, RequestInvalid
from http_api.env import env
from http_api.keys.scopes import Scope
from http_api.keys.selectors import KeyCaller
from http_api.server_api.api.batches import batch_read, batch_run
from http_api.server_api.api.methods import METHODS
from http_api.server_api.api.views import _error_response
from http_api.server_api.requests import (
    BatchRequest,
    DisconnectRequest,
    PublishRequest,
    SubscribeRequest,
    request_of,
)


def refusal(method: str, document: dict[str, Any]) -> ClarionError:
    """What a method raises; no Redis is there, so it must not be asked."""
    with pytest.raises(ClarionError) as caught:
        METHODS[method].answer(request_of(METHODS[method].request, document))
    return caught.value


# Requests


def test_request_takes_null_as_nothing_but_for_data() -> None:
    """A client that writes every field of its struct is understood; ``data: null`` is a value."""
    request = request_of(PublishRequest, {"channel": "#7", "data": None, "tags": None, "b64data": None, "delta": None})
    assert request == PublishRequest(channel="#7", data=None)
    assert request_of(PublishRequest, {}).data is UNSET


@pytest.mark.parametrize(
    ("kind", "document", "told"),
    [
        (PublishRequest, {"channel": 7}, "$.channel"),
        (PublishRequest, {"chanel": "x"}, "chanel"),
        (PublishRequest, {"tags": {"a": 1}}, "$.tags"),
        (PublishRequest, {"skip_history": "yes"}, "$.skip_history"),
        (PublishRequest, {"version": 1}, "version"),
        (DisconnectRequest, {"whitelist": "c"}, "$.whitelist"),
        (DisconnectRequest, {"whitelist": [1]}, "$.whitelist[0]"),
        (DisconnectRequest, {"disconnect": {"code": 4000, "reconnect": True}}, "reconnect"),
        (SubscribeRequest, {"override": {"presence": True}}, "$.override.presence"),
        (SubscribeRequest, {"override": {"presense": {"value": True}}}, "presense"),
        (SubscribeRequest, {"recover_since": {"offset": -1}}, "$.recover_since.offset"),
        (BatchRequest, {"commands": {}}, "$.commands"),
        (BatchRequest, {"commands": [1]}, "$.commands[0]"),
        (PublishRequest, [], "object"),
        (PublishRequest, None, "object"),
        (PublishRequest, "text", "object"),
    ],
)
def test_request_refuses_another_shape(kind: Any, document: Any, told: str) -> None:
    """A field of a wrong type, or one that is not known, is named."""
    with pytest.raises(RequestInvalid) as caught:
        request_of(kind, document)
    assert told in caught.value.detail


# What is refused

BIG = "x" * 70_000

REFUSED: list[tuple[str, dict[str, Any], int]] = [
    ("publish", {"data": 1}, 107),
    ("publish", {"channel": "a b", "data": 1}, 107),
    ("publish", {"channel": "#7"}, 107),
    ("publish", {"channel": "nosuch:x", "data": 1}, 102),
    ("publish", {"channel": "plain", "data": 1}, 102),
    ("publish", {"channel": "#7", "data": BIG}, 107),
    ("publish", {"channel": "#7", "data": 2**64}, 107),
    ("publish", {"channel": "#7", "data": 1, "tags": {"a": BIG}}, 107),
    ("publish", {"channel": "#7", "data": 1, "idempotency_key": "x" * 201}, 107),
    ("publish", {"channel": "#7", "b64data": "no base64!"}, 107),
    ("publish", {"channel": "#7", "b64data": "ä"}, 107),
    ("publish", {"channel": "#7", "b64data": base64.b64encode(b"no json").decode()}, 107),
    ("publish", {"channel": "#7", "b64data": base64.b64encode(b"NaN").decode()}, 107),
    ("broadcast", {"data": 1}, 107),
    ("broadcast", {"channels": [], "data": 1}, 107),
    ("broadcast", {"channels": ["#7"]}, 107),
    ("broadcast", {"channels": ["#7"] * (env.server_api_items_max + 1), "data": 1}, 107),
    ("broadcast", {"channels": ["#7"], "data": BIG}, 107),
    ("subscribe", {"channel": "#7"}, 107),
    ("subscribe", {"user": "a#b", "channel": "#7"}, 107),
    ("subscribe", {"user": "7"}, 107),
    ("subscribe", {"user": "7", "channel": "nosuch:x"}, 102),
    ("subscribe", {"user": "8", "channel": "#7"}, 103),
    ("subscribe", {"user": "", "channel": "#7"}, 103),
    ("subscribe", {"user": "7", "channel": "#7", "info": "x" * 5_000}, 107),
    ("subscribe", {"user": "7", "channel": "#7", "b64info": "!"}, 107),
    ("subscribe", {"user": "7", "channel": "#7", "data": BIG}, 107),
    ("subscribe", {"user": "7", "channel": "#7", "expire_at": -1}, 107),
    ("subscribe", {"user": "7", "channel": "#7", "expire_at": 2**60}, 107),
    ("unsubscribe", {"channel": "#7"}, 107),
    ("unsubscribe", {"user": "7", "channel": "a b"}, 107),
    ("unsubscribe", {"user": "7", "channel": "nosuch:x"}, 102),
    ("disconnect", {}, 107),
    ("disconnect", {"user": "x" * 129}, 107),
    ("disconnect", {"user": "7", "disconnect": {}}, 107),
    ("disconnect", {"user": "7", "disconnect": {"code": 1000}}, 107),
    ("disconnect", {"user": "7", "disconnect": {"code": 5000}}, 107),
    ("disconnect", {"user": "7", "disconnect": {"code": 4000, "reason": "ä" * 62}}, 107),
    ("disconnect", {"user": "7", "whitelist": ["c"] * (env.server_api_items_max + 1)}, 107),
    ("refresh", {"expired": True}, 107),
    ("refresh", {"user": "7", "expire_at": -1}, 107),
    ("refresh", {"user": "7", "info": "x" * 5_000}, 107),
    ("presence", {}, 107),
    ("presence", {"channel": "nosuch:x"}, 102),
    ("presence", {"channel": "#7"}, 108),
    ("presence_stats", {"channel": "#7"}, 108),
    ("history", {}, 107),
    ("history", {"channel": "nosuch:x"}, 102),
    ("history_remove", {"channel": "nosuch:x"}, 102),
    ("channels", {"pattern": "{a"}, 107),
    ("channels", {"pattern": "x" * 1_001}, 107),
]


@pytest.mark.parametrize(("method", "document", "code"), REFUSED)
def test_method_refuses_what_is_wrong_before_redis(method: str, document: dict[str, Any], code: int) -> None:
    """A name, a value or a bound: the number is Centrifugo's, and no Redis is needed to say so."""
    assert refusal(method, document).protocol_code == code


WITHOUT_REDIS: dict[str, dict[str, Any]] = {
    "publish": {"channel": "#7", "data": 1},
    "subscribe": {"user": "7", "channel": "#7"},
    "unsubscribe": {"user": "7"},
    "disconnect": {"user": "7"},
    "refresh": {"user": "7"},
    "channels": {},
    "info": {},
}


@pytest.mark.parametrize("method", WITHOUT_REDIS)
def test_method_without_redis_is_error_100(method: str) -> None:
    """What is right and cannot be done now is internal, temporary."""
    exc = refusal(method, WITHOUT_REDIS[method])
    assert (exc.protocol_code, exc.temporary) == (100, True)


def test_broadcast_without_redis_tells_it_for_each_channel() -> None:
    """What is wrong with one channel is told all the same."""
    broadcast = METHODS["broadcast"]
    result: Any = broadcast.answer(request_of(broadcast.request, {"channels": ["#7", "a b"], "data": 1}))
    assert [response.error.code for response in result.responses] == [100, 107]


# Errors


def all_errors() -> list[type[ClarionError]]:
    """Every error that a method may raise."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ClarionError)]
    return [kind for kind in kinds if kind is not errors.ConfigInvalid]


STATUSES = {100: {500, 503}, 102: {404}, 104: {404}, 107: {400}, 108: {400}, 112: {416}, 113: {409}}


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_error_is_200_unless_the_transport_is_to_tell(kind: type[ClarionError]) -> None:
    """``{"error": {…}}`` with 200; in transport mode the object alone, with Centrifugo's status for its number."""
    exc = kind()
    said = {"code": int(kind.protocol_code), "message": exc.detail}
    response = _error_response(Request(RequestFactory().post("/api/publish")), "publish", exc)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    assert json.loads(response.content) == {"error": said}
    transport = Request(RequestFactory().post("/api/publish", HTTP_X_CENTRIFUGO_ERROR_MODE="transport"))
    response = _error_response(transport, "publish", exc)
    assert json.loads(response.content) == said
    assert response.status_code in STATUSES.get(int(kind.protocol_code), {kind.http_status})
    assert ("Retry-After" in response.headers) == kind.temporary


# Batches


def run(commands: list[Any], *scopes: Scope) -> list[dict[str, Any]]:
    """The replies to a batch, as JSON, for a key with these scopes."""
    caller = KeyCaller(1, "test", frozenset(scopes or [Scope.ADMIN]))
    read = batch_read(request_of(BatchRequest, {"commands": commands}))
    replies: list[dict[str, Any]] = json.loads(json.dumps(batch_run(read, caller), default=_fields))
    return replies


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def test_batch_answers_each_command_in_its_place() -> None:
    """One that fails does not keep the others; what is no method is 104."""
    replies = run(
        [{"publish": {"channel": "a b", "data": 1}}, {"rpc": {}}, {"batch": {}}, {"presence": {"channel": "#7"}}]
    )
    assert [reply["error"]["code"] for reply in replies] == [107, 104, 104, 108]


def test_batch_of_nothing_has_no_replies() -> None:
    """An empty list is answered with one."""
    assert run([]) == []


def test_batch_asks_for_each_commands_scope() -> None:
    """A key that may read gets 103 for a publish, and its read all the same."""
    replies = run([{"publish": {"channel": "#7", "data": 1}}, {"presence": {"channel": "#7"}}], Scope.READ)
    assert [reply["error"]["code"] for reply in replies] == [103, 108]
    assert "publish" in replies[0]["error"]["message"]


@pytest.mark.parametrize(
    ("commands", "told"),
    [
        ([{"publish": {}}, {}], "commands[1]"),
        ([{"publish": {}, "info": {}}], "commands[0]"),
        ([{"publish": []}], "commands[0].publish"),
        ([{"info": {}}, {"publish": {"chanel": "x"}}], "commands[1].publish"),
        ([{"info": {}}] * (env.server_api_items_max + 1), "1,001 commands"),
    ],
)
def test_batch_refuses_a_malformed_command_as_a_whole(commands: list[Any], told: str) -> None:
    """All are read before the first is done."""
    with pytest.raises(RequestInvalid) as caught:
        run(commands)
    assert told in caught.value.detail


def test_batch_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the time is over no further command is begun; what is no command of ours is still told as such."""
    monkeypatch.setattr("http_api.server_api.api.batches.BATCH_S", -1.0)
    replies = run([{"publish": {"channel": "a b", "data": 1}}, {"rpc": {}}])
    assert [reply["error"]["code"] for reply in replies] == [100, 104]
