"""The gateway when Redis or the gateway itself goes away."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until_async

from .conftest import GatewayProcess, received

pytestmark = pytest.mark.timeout(90)


async def test_a_restart_of_redis_keeps_the_sockets_and_delivery_goes_on(
    gateway: GatewayProcess, redis_server: RedisServer
) -> None:
    """No client is disconnected; readiness says what is wrong; within 5 s of its return messages arrive again."""
    async with gateway.connect("chat:x") as socket:
        redis_server.stop()
        await wait_until_async(lambda: gateway.health("ready") == 503)
        assert gateway.health("live") == 200
        await socket.send("1")
        assert (await received(socket, 1))[0]["error"]["code"] == "layer_unavailable"
        redis_server.start()
        started = time.monotonic()
        await wait_until_async(lambda: gateway.health("ready") == 200)
        assert time.monotonic() - started < 5
        gateway.publisher.publish_message("chat:x", {"n": 1})
        assert await received(socket, 1) == [{"n": 1}]
        assert {"redis.lost", "redis.connected"} <= {event["event"] for event in gateway.events}


async def test_a_client_that_joins_while_redis_is_away_receives_when_it_is_back(
    gateway: GatewayProcess, redis_server: RedisServer
) -> None:
    """It waits a bounded time, is accepted, and its subscription is made with all others."""
    redis_server.stop()
    await wait_until_async(lambda: gateway.health("ready") == 503)
    async with gateway.connect("chat:x") as socket:
        redis_server.start()
        await wait_until_async(lambda: gateway.health("ready") == 200)
        gateway.publisher.publish_message("chat:x", {"n": 1})
        assert await received(socket, 1) == [{"n": 1}]


async def test_a_black_hole_answers_a_client_within_its_deadline(
    gateway: GatewayProcess, redis_server: RedisServer
) -> None:
    """A Redis that answers nothing is an error frame within two seconds, not a hang."""
    async with gateway.connect("chat:x") as socket:
        redis_server.pause()
        started = time.monotonic()
        await socket.send("1")
        assert (await received(socket, 1))[0]["error"]["code"] == "layer_unavailable"
        assert time.monotonic() - started < 3
        redis_server.resume()


async def test_a_flood_of_frames_is_refused_not_kept(gateway: GatewayProcess, redis_server: RedisServer) -> None:
    """While Redis does not answer, a client's frames wait up to a bound, then come back as too_many_requests."""
    async with gateway.connect("chat:x") as socket:
        redis_server.pause()
        for number in range(500):
            await socket.send(str(number))
        answers = [(await received(socket, 1))[0]["error"]["code"] for _ in range(430)]
        assert set(answers) <= {"too_many_requests", "layer_unavailable"}
        assert answers.count("too_many_requests") > 400
        redis_server.resume()
        await received(socket, 70)  # each of the 500 was answered: published, or refused


async def test_sigterm_tells_every_client_and_leaves_with_0(gateway: GatewayProcess) -> None:
    """1012: come back, elsewhere. What was published before is delivered before."""
    sockets = [await gateway.connect("chat:x") for _ in range(50)]
    for number in range(100):
        gateway.publisher.publish("chat:x", number)
    await received(sockets[0], 1)  # the gateway has begun to deliver
    gateway.signal(signal.SIGTERM)

    async def all_of(socket: object) -> tuple[int, int | None]:
        count = 1 if socket is sockets[0] else 0
        try:
            while True:
                await socket.recv()  # type: ignore[attr-defined]
                count += 1
        except ConnectionClosed as exc:
            return count, exc.rcvd.code if exc.rcvd else None

    results = await asyncio.gather(*(all_of(socket) for socket in sockets))
    assert {code for _, code in results} == {1012}
    assert min(count for count, _ in results) > 0
    assert gateway.process is not None
    assert await asyncio.to_thread(gateway.process.wait, 30) == 0
    assert {"gateway.stopped"} <= {event["event"] for event in gateway.events}


def test_a_gateway_waits_for_a_redis_that_is_not_there_yet(gateway: GatewayProcess, redis_server: RedisServer) -> None:
    """Live but not ready, saying for what; ready once Redis is there."""
    assert gateway.stop() == 0
    redis_server.stop()
    gateway.start(wait_ready=False)
    assert gateway.health("ready") == 503
    assert any(event["event"] == "redis.unreachable" for event in gateway.events)
    redis_server.start()
    gateway_ready = asyncio.run(wait_until_async(lambda: gateway.health("ready") == 200))
    assert gateway_ready


async def test_a_password_that_changes_ends_no_gateway(gateway: GatewayProcess, redis_server: RedisServer) -> None:
    """A gateway that runs waits for a Redis that refuses it, says which variable is wrong, and keeps its clients."""
    async with gateway.connect("chat:x") as socket:
        with redis_server.client() as client:
            client.config_set("requirepass", "another")
            # The subscriber's last: a new one of its own is no subscriber yet, and would be cut with the others.
            client.client_kill_filter(_type="normal", skipme=True)
            client.client_kill_filter(_type="pubsub")
            said = "CLARION_REDIS_URL: NOAUTH Authentication required"
            await wait_until_async(lambda: _unreachable(gateway, said) >= 5)
            delays = [event["retry_in_s"] for event in gateway.events if event["event"] == "redis.unreachable"]
            assert delays[:5] == [0.1, 0.2, 0.4, 0.8, 1.0]  # with jitter below each
            client.config_set("requirepass", "")
        await wait_until_async(lambda: gateway.health("ready") == 200)
        gateway.publisher.publish_message("chat:x", {"n": 1})
        assert await received(socket, 1) == [{"n": 1}]


def _unreachable(gateway: GatewayProcess, error: str) -> int:
    return sum(event["event"] == "redis.unreachable" and event["error"] == error for event in gateway.events)
