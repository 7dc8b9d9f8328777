"""POST /api/v1/lab/questions: to a consumer of a real gateway and back, over a real Redis."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from clarion.layers import ClarionChannelLayer
from tests.support.child import child_start, child_stop
from tests.support.ports import free_port, is_listening
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

from .conftest import StartService
from .http_service import Answer, HttpService

PATH = "/api/v1/lab/questions"


def ask(service: HttpService, channel_name: Any, question: Any = "how long?", **more: Any) -> Answer:
    return service.post(PATH, {"channel_name": channel_name, "question": question}, **more)


def nobody(service: HttpService) -> str:
    """A name that a consumer might have, and none has."""
    return f"{service.prefix}specific.{'0' * 32}"


@contextmanager
def gateway_of(service: HttpService) -> Iterator[str]:
    """A gateway beside a service; gives the base of its WebSocket URLs."""
    port = free_port()
    env = {
        **service.env,
        "DJANGO_SETTINGS_MODULE": "ws_gateway.settings.base",
        "CLARION_NODE": "gateway-9",
        "CLARION_GATEWAY_BIND": f"127.0.0.1:{port}",
        "CLARION_INTERNAL_PORT": "0",
    }
    command = [sys.executable, "-m", "ws_gateway"]
    log = service.folder / "gateway.log"
    process = child_start(command, log, env=env, cwd=service.folder)
    try:
        wait_until(lambda: is_listening(port), 60, what="the gateway listens")
        yield f"ws://127.0.0.1:{port}"
    finally:
        child_stop(process)
    assert "Traceback" not in log.read_text()


@contextmanager
def worker_lesson(gateway: str) -> Iterator[tuple[ClientConnection, str]]:
    """A socket of the lesson, and its consumer's name."""
    with connect(f"{gateway}/ws/lab/worker/", open_timeout=30) as socket:
        yield socket, json.loads(socket.recv(30))["channel_name"]


def test_a_consumer_of_a_gateway_is_asked_and_answers(start_service: StartService, redis_server: RedisServer) -> None:
    """200 with its answer; its page sees the question. Each of two consumers answers for itself."""
    service = start_service(redis_server.url)
    with gateway_of(service) as gateway:
        with worker_lesson(gateway) as first, worker_lesson(gateway) as second:
            for socket, name in (first, second):
                answer = ask(service, name, "<b>how long?</b>")
                assert answer.status == 200, answer.body
                assert answer.headers["content-type"] == "application/json"
                assert answer.json().keys() == {"answer", "node"}
                assert answer.json()["node"] == "gateway-9"
                shown = json.loads(socket.recv(30))
                assert shown == {"question": "<b>how long?</b>", "answer": answer.json()["answer"]}
        gone = ask(service, first[1])
        assert (gone.status, gone.code) == (504, "no_answer")


def test_nobody_answers_is_504_in_time(start_service: StartService, redis_server: RedisServer) -> None:
    """Two seconds, and the other threads go on meanwhile; over half of them asking, it is 429."""
    service = start_service(redis_server.url, CLARION_HTTP_THREADS="4")
    with ThreadPoolExecutor(3) as pool:
        start = time.monotonic()
        answers = list(pool.map(lambda _: ask(service, nobody(service)), range(3)))
        took = time.monotonic() - start
    assert sorted((answer.status, answer.code) for answer in answers) == [
        (429, "too_many_requests"), (504, "no_answer"), (504, "no_answer"),
    ]  # fmt: skip
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
    assert 2 <= took < 6
    assert ask(service, nobody(service)).status == 504


def test_redis_away_is_503_and_comes_back(start_service: StartService, redis_server: RedisServer) -> None:
    """Refused or frozen, it is told within the deadline; then questions are asked again."""
    service = start_service(redis_server.url)
    redis_server.stop()
    refused = ask(service, nobody(service))
    assert (refused.status, refused.code) == (503, "layer_unavailable")
    redis_server.start()
    assert ask(service, nobody(service)).status == 504
    redis_server.pause()
    start = time.monotonic()
    frozen = ask(service, nobody(service))
    assert (frozen.status, frozen.code) == (503, "layer_unavailable")
    assert time.monotonic() - start < 5
    redis_server.resume()
    assert ask(service, nobody(service)).status == 504
    assert "Traceback" not in service.log


class Answerer:
    """A consumer of the test's own: it answers each question by what a function makes of it."""

    def __init__(self, url: str, prefix: str, make: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._layer = ClarionChannelLayer([url], prefix=prefix)
        self._make = make
        self.name = self._loop.run_until_complete(self._layer.new_channel())
        self._run: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._answer(),), daemon=True)
        self._thread.start()

    async def _answer(self) -> None:
        self._run = asyncio.current_task()
        while True:
            try:
                question = await self._layer.receive(self.name)
            except asyncio.CancelledError:
                return
            await self._layer.send(question["reply_to"], self._make(question))

    def close(self) -> None:
        assert self._run is not None
        self._loop.call_soon_threadsafe(self._run.cancel)
        self._thread.join(30)
        self._loop.close()


def test_questions_leave_no_thread_and_no_connection(start_service: StartService, redis_server: RedisServer) -> None:
    """Each makes an event loop with connections of its own, and they end with it."""
    service = start_service(redis_server.url)
    answerer = Answerer(
        redis_server.url,
        service.prefix,
        lambda question: {"id": question["id"], "answer": question["question"], "node": "n"},
    )
    try:
        assert ask(service, answerer.name, "0").json() == {"answer": "0", "node": "n"}
        [worker] = service.workers()
        threads, files, clients = worker.num_threads(), worker.num_fds(), connections(redis_server)
        for number in range(40):
            assert ask(service, answerer.name, f"{number}").json()["answer"] == f"{number}"
        assert ask(service, nobody(service)).status == 504
        wait_until(lambda: connections(redis_server) == clients, what=f"{clients} connections")
        # gunicorn makes its four threads as it needs them.
        wait_until(lambda: worker.num_threads() < threads + 4, what=f"{threads} threads")
        wait_until(lambda: worker.num_fds() < files + 4, what=f"{files} files")
    finally:
        answerer.close()


def connections(server: RedisServer) -> int:
    with server.client() as client:
        return len(client.client_list())


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "another", "answer": "x", "node": "n"},
        {"answer": 7, "node": "n"},
        {"answer": "x"},
        {},
    ],
)
def test_a_wrong_answer_is_none(service: HttpService, shared_redis_url: str, wrong: dict[str, Any]) -> None:
    """What did not come from the lesson's consumer is not passed on."""
    answerer = Answerer(shared_redis_url, service.prefix, lambda question: {"id": question["id"], **wrong})
    try:
        answer = ask(service, answerer.name)
    finally:
        answerer.close()
    assert (answer.status, answer.code) == (504, "no_answer")


@pytest.mark.parametrize(
    "channel_name",
    [
        "{prefix}__group__news:x",
        "{prefix}__group__xspecific." + "0" * 32,
        "{prefix}.lab-tasks",
        "otherspecific." + "0" * 32,
        "{prefix}specific." + "0" * 31,
        "{prefix}specific." + "G" * 32,
        "",
        None,
        7,
        [],
    ],
)
def test_nothing_but_a_consumer_can_be_addressed(service: HttpService, channel_name: Any) -> None:
    """400: a layer's send takes any Redis channel, a group's too."""
    name = channel_name.format(prefix=service.prefix) if isinstance(channel_name, str) else channel_name
    answer = ask(service, name)
    assert (answer.status, answer.code) == (400, "validation_failed")
    [error] = answer.json()["errors"]
    assert error["pointer"] == "#/channel_name"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"question": ""}, "#/question"),
        ({"question": "x" * 1_001}, "#/question"),
        ({"question": 7}, "#/question"),
        ({"question": None}, "#/question"),
        ({"question": "a\0b"}, "#/question"),
        ({"question": "x", "group": "news:x"}, "#/group"),
    ],
)
def test_a_wrong_field_is_told(service: HttpService, fields: dict[str, Any], pointer: str) -> None:
    """400 with the pointer of what is wrong."""
    answer = service.post(PATH, {"channel_name": nobody(service), **fields})
    assert (answer.status, answer.code) == (400, "validation_failed")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_a_body_is_strict_and_bounded_json(service: HttpService) -> None:
    """As everywhere in the API."""
    assert service.post(PATH, raw="nonsense").code == "json_malformed"
    assert service.post(PATH, raw='{"question": "\\ud800"}').code == "data_invalid"
    assert service.post(PATH, {"question": "x" * 20_000}).code == "body_too_large"
    assert service.post(PATH, raw="x", headers={"Content-Type": "text/plain"}).code == "media_type_unsupported"
    assert service.request("GET", PATH).code == "method_not_allowed"


def test_there_are_no_questions_where_the_lab_is_off(start_service: StartService) -> None:
    """Not routed at all; in production that is so unless it is switched on."""
    service = start_service("redis://127.0.0.1:1", seed=False, CLARION_LAB="false")
    answer = ask(service, nobody(service))
    assert (answer.status, answer.code) == (404, "not_found")
