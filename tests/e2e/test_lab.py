"""The lab through nginx: every path by a plain client, its services together, and the lab switched off."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from tests.support.product import Product, product
from tests.support.waiting import DEADLINE_S
from tests.support.websocket import lesson_url, receive_json, room_join, socket_open, wait_closed

FOREIGN: Final = "http://evil.example"
HELLO: Final = {"msg": "hello"}

Check = Callable[[dict[str, Any]], bool]


def says_hello(frame: dict[str, Any]) -> bool:
    """The answer of most lessons."""
    return frame.get("msg") == "hello"


def begins_task(frame: dict[str, Any]) -> bool:
    """The worker lesson's first answer: the task is on its way."""
    return bool(frame["task"]["done"] == 0 and frame["task"]["of"] == 20)


# path, whether it greets, what answers {"msg": "hello"}
LESSONS: Final[list[tuple[str, bool, Check]]] = [
    ("/ws/lab/sc/", False, says_hello),
    ("/ws/lab/ac/", False, says_hello),
    ("/ws/lab/counter/sync/", False, lambda frame: frame == {"count": 1}),
    ("/ws/lab/counter/async/", False, lambda frame: frame == {"count": 1}),
    ("/ws/lab/json/", False, says_hello),
    ("/ws/lab/group/", False, says_hello),
    ("/ws/lab/group/sync/", False, says_hello),
    ("/ws/lab/room/e2e/", True, lambda frame: says_hello(frame) and frame["author"] == "guest"),
    ("/ws/lab/whoami/", True, lambda frame: frame["error"]["code"] == "unauthorized"),
    ("/ws/lab/wsc/", False, says_hello),
    ("/ws/lab/awsc/", False, says_hello),
    ("/ws/lab/jwc/", False, says_hello),
    ("/ws/lab/ajwc/", False, says_hello),
    ("/ws/lab/subprotocol/", True, says_hello),
    ("/ws/lab/direct/", True, says_hello),
    ("/ws/lab/worker/", True, begins_task),
]
PATHS: Final = [path for path, _, _ in LESSONS]
PAGES: Final = ["/lab/", "/lab/static/lab/lab.js", "/lab/docs/tutorial/channels.md"]


@asynccontextmanager
async def lesson(base_url: str, path: str, *, greets: bool = False, **options: Any) -> AsyncIterator[ClientConnection]:
    """A socket of one lesson, its greeting read, for the length of a block; it is closed with 1000 after it."""
    socket = await socket_open(lesson_url(base_url, path), **options)
    try:
        if greets:
            await receive_json(socket)
        yield socket
    finally:
        await socket.close()


async def ask(socket: ClientConnection, value: Any) -> Any:
    """Send JSON and return the next frame."""
    await socket.send(json.dumps(value))
    return await receive_json(socket)


@pytest.mark.parametrize(("path", "greets", "is_answer"), LESSONS, ids=PATHS)
async def test_lab_answers_on_every_path(product: Product, path: str, greets: bool, is_answer: Check) -> None:
    """A client without Origin connects through nginx, is answered, and closes with 1000."""
    async with lesson(product.url, path, greets=greets) as socket:
        answer = await ask(socket, HELLO)
        assert is_answer(answer), answer
    assert socket.close_code == 1000


@pytest.mark.parametrize("path", PATHS)
async def test_lab_refuses_pages_of_other_origins(product: Product, path: str) -> None:
    """A foreign Origin is refused at the handshake with 403; the product's own page is let in."""
    with pytest.raises(InvalidStatus) as refused:
        await socket_open(lesson_url(product.url, path), origin=FOREIGN)
    assert refused.value.response.status_code == HTTPStatus.FORBIDDEN
    async with lesson(product.url, path, origin=product.url):
        pass


async def test_lab_has_no_other_paths(product: Product) -> None:
    """A lesson that does not exist is 404 at the handshake, and so is a path below one."""
    for path in ("/ws/lab/nothing/", "/ws/lab/sc/more/", "/ws/lab/room/"):
        with pytest.raises(InvalidStatus) as refused:
            await socket_open(lesson_url(product.url, path))
        assert refused.value.response.status_code == HTTPStatus.NOT_FOUND, path


@pytest.mark.parametrize(("path", "greets", "is_answer"), LESSONS, ids=PATHS)
async def test_lab_answers_bad_frames_and_lives(product: Product, path: str, greets: bool, is_answer: Check) -> None:
    """What is no JSON, has no ``msg`` or is too long gets an error frame, and then the lesson answers as ever."""
    async with lesson(product.url, path, greets=greets) as socket:
        codes = []
        for bad in ('{"msg": ', "[]", '{"text": "x"}', json.dumps({"msg": "x" * 4_097})):
            await socket.send(bad)
            codes.append((await receive_json(socket))["error"]["code"])
        if path != "/ws/lab/whoami/":  # a visitor there is told to sign in before anything is read
            assert codes == ["json_malformed", "data_invalid", "data_invalid", "message_too_large"]
        assert is_answer(await ask(socket, HELLO))


@pytest.mark.parametrize("path", ["/ws/lab/wsc/", "/ws/lab/awsc/"])
async def test_lab_returns_binary_frames(product: Product, path: str) -> None:
    """The generic consumers answer bytes with the same bytes, as a binary frame."""
    async with lesson(product.url, path) as socket:
        await socket.send(b"\x00\xff\x80")
        assert await asyncio.wait_for(socket.recv(), 20) == b"\x00\xff\x80"


async def test_lab_subprotocol_is_chosen_or_refused(product: Product) -> None:
    """The newest one offered is taken; a refusal is 4123 after accept, and 403 at the handshake."""
    url = lesson_url(product.url, "/ws/lab/subprotocol/")
    socket = await socket_open(url, ["lab.v1", "lab.v2"], headers={"Cookie": "clarion_session=a-secret"})
    shown = await socket.recv()
    assert socket.subprotocol == "lab.v2"
    assert "a-secret" not in shown
    await socket.close()
    refused = await socket_open(f"{url}?refuse=1")
    assert (await wait_closed(refused))[0] == 4123
    with pytest.raises(InvalidStatus) as denied:
        await socket_open(f"{url}?refuse=handshake")
    assert denied.value.response.status_code == HTTPStatus.FORBIDDEN


async def test_lab_room_crosses_gateways_and_keeps_its_history(product: Product) -> None:
    """A message of one replica's member reaches the other's; who comes later is shown it, on either."""
    one, two = product.dev["gateways"]
    path = f"/ws/lab/room/{uuid4().hex}/"
    async with lesson(one, path) as first, lesson(two, path) as second:
        greetings = [await receive_json(socket) for socket in (first, second)]
        assert [greeting["history"] for greeting in greetings] == [[], []]
        assert len({greeting["node"] for greeting in greetings}) == 2
        await first.send(json.dumps({"msg": "<b>one</b>"}))
        here, there = await receive_json(first), await receive_json(second)
        assert here == there
        assert (here["msg"], here["author"]) == ("<b>one</b>", "guest")
        assert (await ask(second, {"msg": "two"}))["msg"] == "two"
        assert (await receive_json(first))["msg"] == "two"
    for base_url in (one, two, product.url):
        async with lesson(base_url, path) as later:
            history = (await receive_json(later))["history"]
            assert [message["msg"] for message in history] == ["<b>one</b>", "two"]


async def test_lab_group_joins_sync_and_async_over_gateways(product: Product) -> None:
    """Both kinds of consumer are members of one group, on both replicas."""
    one, two = product.dev["gateways"]
    text = uuid4().hex  # another test may speak in the same group
    async with lesson(one, "/ws/lab/group/") as first, lesson(two, "/ws/lab/group/sync/") as second:
        await first.send(json.dumps({"msg": text}))
        for socket in (first, second):
            while (await receive_json(socket))["msg"] != text:
                pass


async def test_lab_knows_who_is_signed_in(product: Product) -> None:
    """With the cookie of sign-in the user is named and may write; a visitor reads it."""
    cookies = await asyncio.to_thread(sign_in, product)
    async with (
        lesson(product.url, "/ws/lab/whoami/", greets=True) as visitor,
        lesson(product.url, "/ws/lab/whoami/", headers={"Cookie": cookies}) as user,
    ):
        assert (await receive_json(user))["user"] == product.dev["admin"]["username"]
        said = await ask(user, HELLO)
        assert said == {"user": product.dev["admin"]["username"], "msg": "hello"}
        assert await receive_json(visitor) == said


def sign_in(product: Product) -> str:
    """Sign in as the administrator; the Cookie header that a browser would send."""
    admin = product.dev["admin"]
    with product.client(key=False) as client:
        client.get("/api/v1/me")
        headers = {"X-CSRFToken": client.cookies["clarion_csrf"], "Origin": product.url}
        answer = client.post(
            "/sign-in", headers=headers, json={"username": admin["username"], "password": admin["password"]}
        )
        assert answer.status_code == HTTPStatus.OK, answer.text
        return f"clarion_session={client.cookies['clarion_session']}"


async def test_lab_task_is_done_by_the_notifier(product: Product) -> None:
    """The notifier takes the task once and reports each step to the socket that started it."""
    async with lesson(product.url, "/ws/lab/worker/", greets=True) as socket:
        begun = (await ask(socket, {"msg": "start", "steps": 5}))["task"]
        reports = [(await receive_json(socket))["task"] for _ in range(5)]
    assert [report["done"] for report in reports] == [1, 2, 3, 4, 5]
    assert {(report["id"], report["of"]) for report in reports} == {(begun["id"], 5)}
    assert {report["worker"] for report in reports} == {"notifier-1"}


async def test_lab_question_goes_from_rest_to_a_socket_and_back(product: Product) -> None:
    """http-api asks the one consumer that is named, and returns what it answered; nobody there is 504."""
    async with lesson(product.url, "/ws/lab/worker/") as socket:
        name = (await receive_json(socket))["channel_name"]
        asked = await asyncio.to_thread(question, product, name)
        assert asked.status_code == HTTPStatus.OK, asked.text
        heard = await receive_json(socket)
        assert heard == {"question": "anybody there?", "answer": asked.json()["answer"]}
    gone = await asyncio.to_thread(question, product, name)
    assert (gone.status_code, gone.json()["code"]) == (HTTPStatus.GATEWAY_TIMEOUT, "no_answer")


def question(product: Product, channel_name: str) -> httpx.Response:
    """Ask by REST."""
    with product.client() as client:
        body = {"channel_name": channel_name, "question": "anybody there?"}
        return client.post("/api/v1/lab/questions", json=body)


async def test_lab_page_is_open_to_visitors(product: Product) -> None:
    """The page comes through nginx without a session, with what it loads; its sockets stand beside plain rooms."""
    with product.client(key=False) as client:
        for path in PAGES:
            assert client.get(path).status_code == HTTPStatus.OK, path
        assert client.get("/lab", follow_redirects=True).status_code == HTTPStatus.OK
    room = await room_join(product.url, "lab:e2e", product.token("7"))  # the namespace "lab" is not the lab
    await room.close()


async def test_lab_says_that_redis_is_away_and_lives(own_product: Product) -> None:
    """While Redis hangs a message gets ``layer_unavailable``; the socket stays and works when Redis is back."""
    own_product.start()
    async with lesson(own_product.url, "/ws/lab/group/") as socket, lesson(own_product.url, "/ws/lab/json/") as other:
        assert says_hello(await ask(socket, HELLO))
        redis = own_product.kill("redis", signal.SIGSTOP)
        try:
            assert (await ask(socket, HELLO))["error"]["code"] == "layer_unavailable"
            assert says_hello(await ask(other, HELLO))
        finally:
            own_product.kill("redis", signal.SIGCONT)
        assert own_product.pid("redis") == redis
        async with asyncio.timeout(DEADLINE_S):
            while not says_hello(await ask(socket, HELLO)):
                pass
    assert await asyncio.to_thread(own_product.stop) == 0


def test_lab_is_not_there_when_switched_off() -> None:
    """With CLARION_LAB=false there is no page, no socket, no question by REST; the rest works."""
    with product(gateways=1, env={"CLARION_LAB": "false"}) as off, off.client() as client:
        for path in PAGES:
            assert client.get(path).status_code == HTTPStatus.NOT_FOUND, path
        asked = client.post("/api/v1/lab/questions", json={"channel_name": "x", "question": "x"})
        assert asked.status_code == HTTPStatus.NOT_FOUND
        asyncio.run(no_lesson(off))
        off.publish("chat:x", 1)


async def no_lesson(off: Product) -> None:
    """Every path of the lab is a plain room of a wrong name again; those of the namespace ``lab`` are as ever."""
    for path in PATHS:
        async with lesson(off.url, path, origin=off.url) as socket:
            assert (await wait_closed(socket))[0] == 4400, path
    room = await room_join(off.url, "lab:e2e", off.token("7"))
    await room.close()
