"""clarion.publisher: one publication to many channels, on a real Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis

from clarion.errors import ChannelLayerUnavailable, ClarionError, DataInvalid, NameInvalid, PublicationTooLarge
from clarion.namespaces import config_parse
from clarion.publications import Published
from clarion.publisher import Publisher
from tests.support.redis_server import RedisServer
from tests.support.redis_server import redis_server as running_redis

CONFIG = config_parse(
    {"channel": {"namespaces": [{"name": "kept", "history_size": 5, "history_ttl": "300s"}, {"name": "plain"}]}}
)


class CountingPublisher(Publisher):
    """Counts how often Redis is asked."""

    asked = 0

    def call(self, shard: int, send: Callable[[redis.Redis, Any], Any], what: Any) -> Any:
        """Count, and ask."""
        self.asked += 1
        return super().call(shard, send, what)


@pytest.fixture
def publisher(redis_server: RedisServer) -> Iterator[CountingPublisher]:
    publisher = CountingPublisher([redis_server.url], config=CONFIG, prefix=f"t{uuid4().hex[:12]}", timeout_s=2.0)
    yield publisher
    publisher.close()


def sent(answers: list[Published | ClarionError]) -> list[Published]:
    """The answers, of which none is an error."""
    assert all(isinstance(answer, Published) for answer in answers), answers
    return [answer for answer in answers if isinstance(answer, Published)]


def test_broadcast_asks_redis_once_and_answers_for_each(publisher: CountingPublisher) -> None:
    """A thousand channels are one round trip, though Redis does not know the scripts yet; each has its own offset."""
    publisher.publish("kept:7", "before")
    publisher.asked = 0
    channels = [f"{'kept' if number % 2 else 'plain'}:{number}" for number in range(1_000)]
    answers = sent(publisher.broadcast(channels, {"n": 1}, tags={"k": "v"}))
    assert publisher.asked == 1
    assert [answer.channel for answer in answers] == channels
    assert len({answer.id for answer in answers}) == 1_000
    assert [answer.offset for answer in answers[:10]] == [0, 1, 0, 1, 0, 1, 0, 2, 0, 1]
    [publication] = publisher.read("kept:9").publications
    assert (publication.data, publication.tags, publication.offset) == ({"n": 1}, {"k": "v"}, 1)


def test_broadcast_of_large_data_goes_in_parts(publisher: CountingPublisher) -> None:
    """Four MiB at a time: Redis and this process never hold all of it at once."""
    answers = sent(publisher.broadcast([f"plain:{number}" for number in range(100)], "x" * 65_000))
    assert len(answers) == 100
    assert publisher.asked == 2


def test_broadcast_goes_on_past_a_bad_name(publisher: CountingPublisher) -> None:
    """What publish would raise for one channel stands in its place; the others are sent to."""
    first, bad, last = publisher.broadcast(["kept:x", "a b", "kept:x"], 1)
    assert isinstance(bad, NameInvalid)
    assert [answer.offset for answer in sent([first, last])] == [1, 2]


def test_broadcast_with_a_repeated_key_sends_nothing(publisher: CountingPublisher) -> None:
    """The key counts for each channel by itself: a repeat gets the first answers, a new channel is sent to."""
    first = sent(publisher.broadcast(["kept:x", "plain:x"], 1, idempotency_key="k"))
    again = sent(publisher.broadcast(["kept:x", "plain:x", "kept:y"], 2, idempotency_key="k"))
    assert again[:2] == first
    assert [publication.data for publication in publisher.read("kept:x").publications] == [1]
    assert [publication.data for publication in publisher.read("kept:y").publications] == [2]


def test_broadcast_past_the_history_has_no_offset(publisher: CountingPublisher) -> None:
    """``skip_history`` holds for all channels."""
    assert [answer.offset for answer in sent(publisher.broadcast(["kept:x", "plain:x"], 1, skip_history=True))] == [
        0,
        0,
    ]
    assert publisher.read("kept:x").publications == []


@pytest.mark.parametrize(
    ("data", "options", "error"),
    [
        (float("nan"), {}, DataInvalid),
        ("x" * 65_535, {}, PublicationTooLarge),
        (1, {"tags": {"a": 1}}, DataInvalid),
        (1, {"idempotency_key": ""}, DataInvalid),
    ],
)
def test_broadcast_refuses_bad_input_as_a_whole(
    publisher: CountingPublisher, data: Any, options: Any, error: type[Exception]
) -> None:
    """What is wrong for all channels is raised, and Redis is not asked."""
    with pytest.raises(error):
        publisher.broadcast(["kept:x"], data, **options)
    assert publisher.asked == 0


def test_broadcast_tells_which_channels_a_lost_shard_has(redis_server: RedisServer) -> None:
    """With one of two servers away its channels get layer_unavailable, and only those."""
    with running_redis() as other:
        publisher = CountingPublisher([redis_server.url, other.url], config=CONFIG, timeout_s=2.0)
        channels = [f"kept:{number}" for number in range(40)]
        assert {answer.offset for answer in sent(publisher.broadcast(channels, 1))} == {1}
        assert publisher.asked == 2
        other.stop()
        answers = publisher.broadcast(channels, 2)
        lost = [channel for channel, answer in zip(channels, answers, strict=True) if not isinstance(answer, Published)]
        assert {type(answer) for answer in answers} == {Published, ChannelLayerUnavailable}
        assert lost == [channel for channel in channels if publisher.shard_of(f"asgi__group__{channel}") == 1]
        publisher.close()


def test_what_redis_refuses_is_told_for_that_channel_alone(redis_server: RedisServer) -> None:
    """A key of a wrong type is one channel's trouble, and not the others'."""
    publisher = CountingPublisher([redis_server.url], config=CONFIG, timeout_s=2.0)
    with redis_server.client() as client:
        client.set("asgi__meta__kept:bad", "no hash")
    good, bad = publisher.broadcast(["kept:good", "kept:bad"], 1)
    assert isinstance(good, Published)
    assert isinstance(bad, ChannelLayerUnavailable)
    assert isinstance(bad.__cause__, redis.ResponseError)
    publisher.close()


def test_publish_raw_says_how_many_hear(redis_server: RedisServer, publisher: CountingPublisher) -> None:
    """Bytes on a Redis channel of our own, and the number of its subscribers."""
    assert publisher.publish_raw("t__control", b"\x00\xff") == 0
    with redis_server.client() as client:
        ear = client.pubsub()
        ear.subscribe("t__control")
        assert ear.get_message(timeout=5)["type"] == "subscribe"
        assert publisher.publish_raw("t__control", b"\x00\xff") == 1
        assert ear.get_message(timeout=5)["data"] == b"\x00\xff"
        ear.close()
