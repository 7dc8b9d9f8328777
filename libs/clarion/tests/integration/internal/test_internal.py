"""clarion.internal over real sockets."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest

from clarion import internal
from clarion.internal import OK, InternalServer, Request, Response, health_routes, loop_check
from tests.support.waiting import wait_until

STATES = {"redis": "ok"}


def failing() -> str:
    raise LookupError("secret")


@pytest.fixture
def server() -> Iterator[InternalServer]:
    STATES.update(redis="ok")
    server = InternalServer(
        routes={
            **health_routes(live={}, ready={"redis": lambda: STATES["redis"]}),
            "GET /broken": lambda _: Response(HTTPStatus.OK, failing().encode()),
            "GET /metrics": lambda _: Response(HTTPStatus.OK, b"up 1\n", "text/plain"),
            "POST /drain": lambda asked: Response(HTTPStatus.ACCEPTED, json.dumps(asked.query).encode()),
        }
    )
    server.start()
    yield server
    server.stop()


def request(server: InternalServer, method: str, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body) if "json" in answer.headers["Content-Type"] and body else body


def test_health_answers_200_while_all_checks_hold(server: InternalServer) -> None:
    """The body names each check."""
    assert request(server, "GET", "/health/live") == (200, {"status": "ok", "checks": {}})
    assert request(server, "GET", "/health/ready?x=1") == (200, {"status": "ok", "checks": {"redis": "ok"}})
    assert request(server, "HEAD", "/health/ready") == (200, b"")


def test_health_answers_503_with_the_reason(server: InternalServer) -> None:
    """One check that does not hold is enough; liveness is its own matter."""
    STATES.update(redis="unavailable: TimeoutError")
    answer = {"status": "unavailable", "checks": {"redis": "unavailable: TimeoutError"}}
    assert request(server, "GET", "/health/ready") == (503, answer)
    assert request(server, "GET", "/health/live")[0] == 200


def test_a_check_that_raises_is_a_check_that_fails(server: InternalServer) -> None:
    """No traceback and no text of the error leaves; the port goes on answering."""
    server.routes.update(health_routes(live={}, ready={"bad": failing}))
    assert request(server, "GET", "/health/ready") == (
        503,
        {"status": "unavailable", "checks": {"bad": "failed: LookupError"}},
    )
    status, answer = request(server, "GET", "/broken")
    assert (status, answer["code"], answer["detail"]) == (500, "internal", "")
    assert request(server, "GET", "/health/live")[0] == 200


def test_loop_check_tells_whether_the_loop_turns() -> None:
    """The thread that asks waits for the loop's answer, so a loop that is stuck is told."""
    loop, released = asyncio.new_event_loop(), threading.Event()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        assert loop_check(loop, 20)() == OK
        loop.call_soon_threadsafe(released.wait)
        assert loop_check(loop, 0.05)() == "did not answer within 0.05 s"
    finally:
        released.set()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_routes_can_be_added(server: InternalServer) -> None:
    """Metrics and drain join with a line each; what is not there is 404, another method 405."""
    assert request(server, "GET", "/metrics") == (200, b"up 1\n")
    assert request(server, "POST", "/drain") == (202, {})
    for method, path, status, code in (
        ("GET", "/drain", 405, "method_not_allowed"),
        ("GET", "/nothing", 404, "not_found"),
    ):
        answer = request(server, method, path)
        assert answer[0] == answer[1]["status"] == status
        assert answer[1]["code"] == code


def test_a_handler_is_given_the_query(server: InternalServer) -> None:
    """Decoded, each value of a name, blank ones too."""
    asked = request(server, "POST", "/drain?share=0.5&share=&q=%C3%A4")[1]
    assert asked == {"share": ["0.5", ""], "q": ["\u00e4"]}


def test_requests_at_once_are_bounded(server: InternalServer) -> None:
    """One too many is closed unanswered; when the others are done there is room again."""
    release, entered = threading.Event(), threading.Semaphore(0)

    def slow(_request: Request) -> Response:
        entered.release()
        release.wait(30)
        return Response(HTTPStatus.OK, b"{}")

    server.routes["GET /slow"] = slow
    threads = [threading.Thread(target=request, args=(server, "GET", "/slow")) for _ in range(internal.REQUESTS_MAX)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert entered.acquire(timeout=30)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        request(server, "GET", "/health/live")
    release.set()
    for thread in threads:
        thread.join(30)
    wait_until(lambda: is_answered(server), what="room for a request")


def is_answered(server: InternalServer) -> bool:
    try:
        return request(server, "GET", "/health/live")[0] == 200
    except (http.client.RemoteDisconnected, ConnectionResetError):
        return False


def test_a_client_that_says_nothing_is_let_go(server: InternalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle connection is closed, and holds no thread for ever."""
    monkeypatch.setattr(internal._Handler, "timeout", 0.2)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as idle:
        assert idle.recv(1) == b""


def test_stop_closes_the_port(server: InternalServer) -> None:
    """The port is free at once, and no thread is left."""
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)
    again = InternalServer(port=server.port)
    again.stop()
    assert not any(thread.name == "internal-port" for thread in threading.enumerate())


def test_a_port_that_is_taken_is_an_error(server: InternalServer) -> None:
    """The service can say so, and does not run unseen."""
    with pytest.raises(OSError, match="in use"):
        InternalServer(port=server.port)


def test_the_default_address_is_loopback(server: InternalServer) -> None:
    """Nothing outside the machine reaches it unless a deployment says so."""
    assert server.host == "127.0.0.1"
