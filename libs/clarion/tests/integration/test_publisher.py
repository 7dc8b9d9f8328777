"""clarion.publisher on a real Redis: one PUBLISH each, bounded time, constant connections."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgpack
import pytest
from channels.exceptions import MessageTooLarge

from clarion.errors import ChannelLayerUnavailable, DataInvalid, NameInvalid, PublicationTooLarge
from clarion.namespaces import ClarionConfig
from clarion.publisher import Publisher
from clarion.refusals import redis_reason
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def publisher(redis_server: RedisServer) -> Iterator[Publisher]:
    publisher = Publisher([redis_server.url], timeout_s=0.5, max_connections=8)
    yield publisher
    publisher.close()


def subscriptions(server: RedisServer) -> int:
    with server.client() as client:
        return len([entry for entry in client.client_list() if entry["cmd"] != "client|list"])


def test_publish_sends_the_publication_to_the_group(redis_server: RedisServer, publisher: Publisher) -> None:
    """The bytes are those of group_send: a msgpack dict with type and data, on the stock layer's Redis channel."""
    with redis_server.client() as client:
        ear = client.pubsub()
        ear.subscribe("asgi__group__chat:x")
        assert ear.get_message(timeout=5)["type"] == "subscribe"
        first, second = publisher.publish("chat:x", {"a": [1, None]}), publisher.publish("chat:x", [])
        got = [msgpack.unpackb(ear.get_message(timeout=5)["data"]) for _ in range(2)]
        ear.close()
    assert got == [
        {"type": "clarion.publication", "data": {"a": [1, None]}},
        {"type": "clarion.publication", "data": []},
    ]
    assert first.id < second.id  # UUIDv7: sorted by time
    assert (first.offset, first.epoch) == (0, "")  # no history without a configuration


@pytest.mark.parametrize(
    ("channel", "data", "error"),
    [
        ("a b", 1, NameInvalid), ("", 1, NameInvalid), ("chat:x", float("nan"), DataInvalid),
        ("chat:x", 2**64, DataInvalid), ("chat:x", "x" * 65_535, PublicationTooLarge),
    ],
)  # fmt: skip
def test_publish_refuses_bad_input_before_redis(channel: str, data: object, error: type[Exception]) -> None:
    """No Redis is there, and none is asked."""
    with pytest.raises(error):
        Publisher(["redis://127.0.0.1:1"]).publish(channel, data)


def test_publish_message_refuses_one_that_is_too_large(publisher: Publisher) -> None:
    """Over 1 MiB serialised: MessageTooLarge, as Channels calls it."""
    with pytest.raises(MessageTooLarge):
        publisher.publish_message("chat:x", {"type": "x", "data": "x" * 1_048_576})


def test_connections_stay_constant_under_threads(redis_server: RedisServer, publisher: Publisher) -> None:
    """Thirty threads share at most eight connections; nobody is refused one."""
    with ThreadPoolExecutor(30) as pool:
        done = list(pool.map(lambda number: publisher.publish("chat:x", number), range(600)))
    assert len({published.id for published in done}) == 600
    assert subscriptions(redis_server) <= 8


def test_a_redis_that_is_away_fails_fast_and_comes_back(redis_server: RedisServer, publisher: Publisher) -> None:
    """ChannelLayerUnavailable at once; and again reachable within a second of its return, on the same pool."""
    publisher.publish("chat:x", 1)
    redis_server.stop()
    started = time.monotonic()
    for _ in range(200):
        with pytest.raises(ChannelLayerUnavailable):
            publisher.publish("chat:x", 1)
    assert time.monotonic() - started < 2
    redis_server.start()

    def publishes() -> bool:
        try:
            return bool(publisher.publish("chat:x", 1))
        except ChannelLayerUnavailable:
            return False

    wait_until(publishes, 2)


def test_a_full_disk_refuses_what_needs_it_and_nothing_else(redis_server: RedisServer, publisher: Publisher) -> None:
    """A publication with a history is refused, as is PING; one without goes out, at once after those."""
    redis_server.disk_full()
    config = ClarionConfig(channel={"namespaces": [{"name": "kept", "history_size": 9, "history_ttl": "1h"}]})
    kept = Publisher([redis_server.url], timeout_s=0.5, config=config)
    try:
        for _ in range(3):
            with pytest.raises(ChannelLayerUnavailable) as caught:
                kept.publish("kept:x", 1)
            assert redis_reason(caught.value) == "MISCONF"
            with pytest.raises(ChannelLayerUnavailable):
                kept.ping()
            kept.publish_raw("asgi__group__chat:x", b"x")
    finally:
        kept.close()
    publisher.publish("chat:x", 1)


def test_a_black_hole_holds_no_caller_longer_than_two_seconds(redis_server: RedisServer, publisher: Publisher) -> None:
    """Forty threads at once: the first few wait out the timeout, the others fail with them."""
    publisher.publish("chat:x", 1)
    redis_server.pause()
    waits: list[float] = []

    def one(_number: int) -> None:
        started = time.monotonic()
        with pytest.raises(ChannelLayerUnavailable):
            publisher.publish("chat:x", 1)
        waits.append(time.monotonic() - started)

    started = time.monotonic()
    with ThreadPoolExecutor(40) as pool:
        list(pool.map(one, range(200)))
    redis_server.resume()
    assert len(waits) == 200
    assert max(waits) < 2
    assert time.monotonic() - started < 2  # those that queue for a thread are not kept by each one before them


def test_nothing_is_sent_twice_when_the_answer_is_late(redis_server: RedisServer, publisher: Publisher) -> None:
    """A publish that timed out is not repeated behind the caller's back: redis-py's own retry would double it."""
    with redis_server.client() as client:
        ear = client.pubsub()
        ear.subscribe("asgi__group__chat:x")
        ear.get_message(timeout=5)
        publisher.publish("chat:x", "before")
        redis_server.pause()
        with pytest.raises(ChannelLayerUnavailable):
            publisher.publish("chat:x", "late")
        redis_server.resume()
        got = []
        while message := ear.get_message(timeout=1):
            got.append(msgpack.unpackb(message["data"])["data"])
        ear.close()
    assert got in (["before"], ["before", "late"])


def test_ping_asks_every_shard(redis_server: RedisServer) -> None:
    """Readiness fails when one shard is away."""
    Publisher([redis_server.url]).ping()
    with pytest.raises(ChannelLayerUnavailable):
        Publisher([redis_server.url, "redis://127.0.0.1:1"]).ping()


def test_a_forked_child_makes_connections_of_its_own(redis_server: RedisServer, publisher: Publisher) -> None:
    """After a fork, parent and child do not mix their answers on one socket."""
    publisher.publish("chat:x", 0)
    child = os.fork()
    if child == 0:
        try:
            for number in range(50):
                publisher.publish("chat:x", number)
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the child must not go on with pytest
            os._exit(1)
    worker = threading.Thread(target=lambda: [publisher.publish("chat:x", number) for number in range(50)])
    worker.start()
    worker.join(20)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
