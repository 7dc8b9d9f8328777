"""Redis away, silent or back again: 503 within two seconds, never a hang, never more connections."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

from .conftest import StartService
from .http_service import Answer, HttpService

ANSWER_S = 2.0


@pytest.fixture
def black_hole() -> Iterator[str]:
    """URL of a socket that is listening and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"


def unavailable(answer: Answer) -> None:
    """Check the one answer that a client gets while Redis is away."""
    assert (answer.status, answer.code) == (503, "layer_unavailable"), answer.body
    assert int(answer.headers["retry-after"]) >= 1


def timed_publish(service: HttpService) -> float:
    """Publish while Redis is away; returns how long the refusal took, less what this machine takes for any answer."""
    start = time.monotonic()
    unavailable(service.publish("chat:room"))
    refused = time.monotonic()
    assert service.request("GET", "/health/live").status == 200
    return (refused - start) - (time.monotonic() - refused)


def test_redis_that_is_not_there_is_503(start_service: StartService) -> None:
    """A refused connection is told at once."""
    service = start_service("redis://127.0.0.1:1")
    assert timed_publish(service) < ANSWER_S


def test_redis_that_never_answers_is_503_within_two_seconds(start_service: StartService, black_hole: str) -> None:
    """A black hole: one caller, and as many at once as would fill every thread several times over."""
    service = start_service(black_hole)
    assert timed_publish(service) < ANSWER_S
    time.sleep(0.6)  # past the half second in which calls fail at once: now all of them meet the black hole
    with ThreadPoolExecutor(16) as pool:
        took = list(pool.map(lambda _: timed_publish(service), range(16)))
    assert max(took) < ANSWER_S, took


def test_redis_that_freezes_is_503_and_comes_back(start_service: StartService, redis_server: RedisServer) -> None:
    """Kept connections that stop answering are refused in time; the service recovers by itself."""
    service = start_service(redis_server.url)
    assert service.publish("chat:room").status == 202
    redis_server.pause()
    assert timed_publish(service) < ANSWER_S
    redis_server.resume()
    wait_until(lambda: service.publish("chat:room").status == 202, what="publishing works again")


def test_redis_restarted_is_met_again(start_service: StartService, redis_server: RedisServer) -> None:
    """Stale connections of the pool cost at most refusals, no hang and no traceback."""
    service = start_service(redis_server.url)
    assert service.publish("chat:room").status == 202
    redis_server.stop()
    assert timed_publish(service) < ANSWER_S
    redis_server.start()
    wait_until(lambda: service.publish("chat:room").status == 202, what="publishing works again")
    assert "Traceback" not in service.log
    assert "request.failed" in service.log


def test_redis_connections_stay_constant(start_service: StartService, redis_server: RedisServer) -> None:
    """However many publish, a worker has at most a connection a thread, and makes none anew."""
    service = start_service(redis_server.url, CLARION_HTTP_THREADS="3")

    def publish_many(_: int) -> None:
        client = service.connection()
        for _ in range(25):
            assert service.publish("chat:room", connection=client).status == 202
        client.close()

    def connections() -> int:
        with redis_server.client() as client:
            return sum(entry["cmd"] == "publish" for entry in client.client_list())

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(publish_many, range(12)))
    with redis_server.client() as client:
        received = int(client.info("stats")["total_connections_received"])
    assert 1 <= connections() <= 3
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(publish_many, range(12)))
    with redis_server.client() as client:
        # This test's own: one that counted before, one from connections(), one now.
        assert int(client.info("stats")["total_connections_received"]) <= received + 2 + (3 - 1)
    assert connections() <= 3


def test_other_calls_go_on_while_redis_is_silent(start_service: StartService, black_hole: str) -> None:
    """Threads that wait for Redis do not starve the rest: a token is minted within two seconds."""
    service = start_service(black_hole)
    publishers = [threading.Thread(target=service.publish, args=("chat:room",)) for _ in range(12)]
    for thread in publishers:
        thread.start()
    start = time.monotonic()
    assert service.post("/api/v1/tokens", {"user": "1"}, key="control").status == 201
    took = time.monotonic() - start
    for thread in publishers:
        thread.join(30)
    start = time.monotonic()
    assert service.post("/api/v1/tokens", {"user": "1"}, key="control").status == 201
    assert took - (time.monotonic() - start) < ANSWER_S
