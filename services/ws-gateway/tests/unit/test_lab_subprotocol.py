"""ws_gateway.lab.consumers.subprotocol and blanking: what a handshake decides, and what of it is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User

from ws_gateway.lab.blanking import BLANK, scope_shown
from ws_gateway.lab.consumers.subprotocol import SubprotocolLesson

pytestmark = pytest.mark.usefixtures("memory_layer")

TIMEOUT_S = 30
PATH = "/ws/lab/subprotocol/"


def client_with(*offered: str, path: str = PATH) -> WebsocketCommunicator:
    return WebsocketCommunicator(SubprotocolLesson.as_asgi(), path, subprotocols=list(offered))


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["lab.v1", "lab.v2"], "lab.v2"), (["lab.v2", "lab.v1"], "lab.v2"), (["lab.v1"], "lab.v1"),
        (["other", "lab.v1"], "lab.v1"), ([], None),
    ],
)  # fmt: skip
async def test_subprotocol_is_the_newest_that_both_know(offered: list[str], chosen: str | None) -> None:
    """Whatever the order of the offer; with no offer there is none."""
    client = client_with(*offered)
    assert await client.connect(TIMEOUT_S) == (True, chosen)
    assert client.response_headers == [(b"x-lab-lesson", b"subprotocol")]
    first = await client.receive_json_from(TIMEOUT_S)
    assert first["subprotocol"] == chosen
    await client.send_json_to({"msg": "hello"})
    assert await client.receive_json_from(TIMEOUT_S) == {"msg": "hello", "subprotocol": chosen}
    await client.send_to(bytes_data=b"x")
    assert (await client.receive_json_from(TIMEOUT_S))["error"]["code"] == "data_invalid"
    await client.disconnect(timeout=TIMEOUT_S)


@pytest.mark.parametrize(
    ("offered", "path", "accepted"),
    [
        (["mqtt", "wamp"], PATH, "mqtt"), (["lab.v1"], PATH + "?refuse=1", "lab.v1"), ([], PATH + "?refuse=1", None),
    ],
)  # fmt: skip
async def test_refusal_is_a_close_code_that_a_page_can_read(
    offered: list[str], path: str, accepted: str | None
) -> None:
    """Accepted first, naming one of the offers, or a browser would not get as far as the close; then 4123."""
    client = client_with(*offered, path=path)
    assert await client.connect(TIMEOUT_S) == (True, accepted)
    close = await client.receive_output(TIMEOUT_S)
    assert (close["type"], close["code"]) == ("websocket.close", 4123)
    assert close["reason"]
    await client.disconnect(4123, TIMEOUT_S)


async def test_refusal_at_the_handshake_closes_before_accepting() -> None:
    """What the tutorials show; the server makes HTTP 403 of it."""
    client = client_with("lab.v1", path=PATH + "?refuse=handshake")
    assert await client.connect(TIMEOUT_S) == (False, 4123)
    await client.disconnect(timeout=TIMEOUT_S)


SECRET = "s3cr3t"


def full_scope(**more: Any) -> dict[str, Any]:
    """A scope as it is behind nginx, AuthMiddlewareStack and URLRouter, with a secret wherever one may stand."""
    user = User(pk=7, username="ann", password=SECRET, email=f"{SECRET}@example.org")
    return {
        "type": "websocket", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "scheme": "wss",
        "path": PATH, "raw_path": PATH.encode(), "root_path": "", "path_remaining": "",
        "query_string": f"token={SECRET}&refuse=0&{SECRET}&a={SECRET}".encode(),
        "headers": [
            (b"host", b"push.example"), (b"user-agent", b"curl/8"), (b"cookie", f"clarion_session={SECRET}".encode()),
            (b"authorization", f"Bearer {SECRET}".encode()), (b"sec-websocket-key", SECRET.encode()),
            (b"sec-websocket-protocol", f"lab.v1, {SECRET}".encode()), (b"referer", f"/?token={SECRET}".encode()),
            (b"x-api-key", SECRET.encode()), (b"Proxy-Authorization", SECRET.encode()), (b"x-other", SECRET.encode()),
        ],
        "client": ["192.0.2.1", 4711], "server": ("127.0.0.1", 8001), "subprotocols": ["lab.v1", SECRET],
        "extensions": {"websocket.http.response": {}}, "cookies": {"clarion_session": SECRET}, "user": user,
        "session": {"_auth_user_hash": SECRET}, "url_route": {"args": (), "kwargs": {}}, "state": {"x": SECRET},
        **more,
    }  # fmt: skip


def test_scope_shown_names_every_key_and_no_secret() -> None:
    """Whoever looks over a shoulder, or at a screenshot, can take nothing from it."""
    scope = full_scope()
    shown = scope_shown(scope)
    assert SECRET not in json.dumps(shown)
    assert list(shown) == list(scope)
    assert [name for name, _ in shown["headers"]] == [name.decode() for name, _ in scope["headers"]]


def test_scope_shown_shows_what_a_reader_looks_for() -> None:
    """The harmless rest as JSON: text for bytes, lists for tuples, the user by name."""
    shown = scope_shown(full_scope())
    assert (shown["path"], shown["raw_path"], shown["user"]) == (PATH, PATH, "ann")
    assert (shown["client"], shown["server"]) == (["192.0.2.1", 4711], ["127.0.0.1", 8001])
    assert shown["url_route"] == {"args": [], "kwargs": {}}
    assert shown["subprotocols"] == ["lab.v1", BLANK]
    assert shown["query_string"] == f"token={BLANK}&refuse=0&a={BLANK}"
    assert shown["cookies"] == {"clarion_session": BLANK}
    headers = dict(shown["headers"])
    assert (headers["host"], headers["user-agent"]) == ("push.example", "curl/8")
    assert headers["sec-websocket-protocol"] == f"lab.v1, {BLANK}"
    assert headers["cookie"] == headers["authorization"] == headers["sec-websocket-key"] == BLANK


def test_scope_shown_is_json_whatever_a_server_adds() -> None:
    """A foreign object is shown by its type's name."""
    shown = scope_shown(full_scope(extensions={"tls": object(), 1: b"\xff"}))
    assert json.loads(json.dumps(shown))["extensions"] == {"tls": "object", "1": "ÿ"}


async def test_scope_sent_holds_no_secret() -> None:
    """The first frame, as it goes over the wire."""
    client = WebsocketCommunicator(
        SubprotocolLesson.as_asgi(),
        f"{PATH}?token={SECRET}",
        headers=full_scope()["headers"],
        subprotocols=["lab.v1", SECRET],
    )
    client.scope.update(full_scope())
    await client.connect(TIMEOUT_S)
    first = await client.receive_from(TIMEOUT_S)
    assert SECRET not in first
    assert json.loads(first)["scope"]["user"] == "ann"
    await client.disconnect(timeout=TIMEOUT_S)
