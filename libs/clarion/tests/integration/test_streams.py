"""Recoverable channels on a real Redis: offsets, epochs, what is kept and what a loss of keys does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import redis
from channels_redis.pubsub import RedisPubSubChannelLayer
from hypothesis import given, settings
from hypothesis import strategies as st

from clarion.errors import ConfigInvalid, DataInvalid, NameInvalid, NotAvailable
from clarion.layers import ClarionChannelLayer
from clarion.names import redis_meta, redis_stream
from clarion.namespaces import ClarionConfig, config_parse
from clarion.publications import Publication, publication
from clarion.publisher import Publisher
from clarion.streams import Position, Streams
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until, wait_until_async

CONFIG: ClarionConfig = config_parse(
    {
        "channel": {
            "namespaces": [
                {"name": "kept", "history_size": 5, "history_ttl": "60s"},
                {"name": "long", "history_size": 100_000, "history_ttl": "60s"},
                {"name": "brief", "history_size": 5, "history_ttl": "1s", "history_meta_ttl": "100s"},
                {"name": "gone", "history_size": 5, "history_ttl": "1s", "history_meta_ttl": "1s"},
                {"name": "plain"},
            ]
        }
    }
)


@pytest.fixture
def publisher(shared_redis_url: str, layer_prefix: str) -> Iterator[Publisher]:
    publisher = Publisher([shared_redis_url], prefix=layer_prefix, config=CONFIG)
    yield publisher
    publisher.close()


@pytest.fixture
async def layer(shared_redis_url: str, layer_prefix: str) -> AsyncIterator[ClarionChannelLayer]:
    layer = ClarionChannelLayer([shared_redis_url], prefix=layer_prefix, config=CONFIG)
    yield layer
    await layer.flush()


@pytest.fixture
async def streams(shared_redis_url: str, layer_prefix: str, layer: ClarionChannelLayer) -> AsyncIterator[Streams]:
    streams = Streams([shared_redis_url], prefix=layer_prefix, config=CONFIG, decode=layer.deserialize)
    yield streams
    await streams.close()


@pytest.fixture
def own(redis_server: RedisServer) -> Iterator[Publisher]:
    """A publisher on a Redis of this test alone."""
    publisher = Publisher([redis_server.url], config=CONFIG)
    yield publisher
    publisher.close()


def values(publications: list[Publication]) -> list[Any]:
    return [found.data for found in publications]


def offsets(publications: list[Publication]) -> list[int]:
    return [found.offset for found in publications]


# Publishing and reading


def test_offsets_grow_by_one_and_an_epoch_holds_them(publisher: Publisher) -> None:
    """From 1 on, per channel; the epoch is the channel's own."""
    told = [publisher.publish("kept:a", number) for number in range(3)]
    assert [published.offset for published in told] == [1, 2, 3]
    assert len({published.epoch for published in told}) == 1
    assert publisher.publish("kept:b", 0).offset == 1
    assert publisher.publish("kept:b", 0).epoch != told[0].epoch
    found = publisher.read("kept:a")
    assert (found.offset, found.epoch) == (3, told[0].epoch)
    assert values(found.publications) == [0, 1, 2]
    assert {publication.epoch for publication in found.publications} == {told[0].epoch}
    assert all(abs(publication.time - found.publications[0].time) < 60_000 for publication in found.publications)


async def test_every_way_to_publish_is_one(publisher: Publisher, layer: ClarionChannelLayer, streams: Streams) -> None:
    """group_send, the layer's publish and the synchronous publisher write the same stream and the same message."""
    info = {"user": "1", "client": "c"}
    await layer.group_send("kept:a", publication(1, tags={"k": "v"}, info=info))
    assert (await layer.publish("kept:a", 2, tags={"k": "v"}, info=info)).offset == 2
    assert publisher.publish("kept:a", 3, tags={"k": "v"}, info=info).offset == 3
    assert publisher.publish_message("kept:a", publication(4, tags={"k": "v"}, info=info)) == 0
    found = await streams.read("kept:a")
    assert values(found.publications) == [1, 2, 3, 4]
    assert all(item.tags == {"k": "v"} and item.info == info for item in found.publications)
    assert msgspec.to_builtins(publisher.read("kept:a")) == msgspec.to_builtins(found)


async def test_read_gives_what_was_asked_for(publisher: Publisher, streams: Streams) -> None:
    """Forward from an offset, backward below one, a limit, and the position alone."""
    for number in range(1, 9):
        publisher.publish("kept:a", number)
    for read, expected in [
        ({}, [4, 5, 6, 7, 8]),
        ({"since": 6}, [7, 8]),
        ({"since": 0, "limit": 2}, [4, 5]),
        ({"since": 8}, []),
        ({"since": 2**70}, []),
        ({"since": -5, "limit": 1}, [4]),
        ({"reverse": True}, [8, 7, 6, 5, 4]),
        ({"reverse": True, "limit": 2}, [8, 7]),
        ({"reverse": True, "since": 6}, [5, 4]),
        ({"reverse": True, "since": 2**70, "limit": 1}, [8]),
        ({"reverse": True, "since": 1}, []),
        ({"reverse": True, "since": 0}, []),
        ({"limit": 0}, []),
        ({"limit": 1_000}, [4, 5, 6, 7, 8]),
    ]:
        found = await streams.read("kept:a", **read)  # type: ignore[arg-type]  # of one of these calls each
        assert (offsets(found.publications), found.offset) == (expected, 8), read
        assert values(found.publications) == expected
        assert publisher.read("kept:a", **read) == found  # type: ignore[arg-type]


async def test_slice_covers_only_what_it_holds(publisher: Publisher, streams: Streams) -> None:
    """All after an offset, up to the top: else a client that asks for it has missed something."""
    for number in range(1, 9):
        publisher.publish("kept:a", number)
    for since, is_covered in [(8, True), (7, True), (3, True), (2, False), (0, False), (9, False)]:
        assert (await streams.read("kept:a", since=since)).covers(since) is is_covered, since
    assert not (await streams.read("kept:a", since=4, limit=2)).covers(4)


async def test_an_entry_that_cannot_be_decoded_is_a_gap(
    publisher: Publisher, streams: Streams, layer_prefix: str, shared_redis_url: str
) -> None:
    """Of a serializer before, say: who reads over it is told to reload, and nobody waits for it for ever."""
    top = publisher.publish("kept:x", 1)
    with redis.Redis.from_url(shared_redis_url) as client:
        client.hincrby(redis_meta(layer_prefix, "kept:x"), "o", 1)
        client.xadd(redis_stream(layer_prefix, "kept:x"), {"m": b"\xc1"}, id="2-0")
    publisher.publish("kept:x", 3)
    found = await streams.read("kept:x", since=0)
    assert (found.offset, found.epoch) == (3, top.epoch)
    assert [publication.offset for publication in found.publications] == [1, 3]
    assert not found.covers(0)
    assert (await streams.read("kept:x", since=2)).covers(2)


async def test_positions_come_in_one_go(publisher: Publisher, streams: Streams) -> None:
    """Channels without history are left out; one that was never used gets its epoch here."""
    told = publisher.publish("kept:a", 1)
    found = await streams.positions(["kept:a", "kept:new", "plain:a", "unknown:a"])
    assert found == {"kept:a": Position(1, told.epoch), "kept:new": Position(0, found["kept:new"].epoch)}
    assert publisher.positions(["kept:new"]) == {"kept:new": found["kept:new"]}
    assert publisher.publish("kept:new", 1).epoch == found["kept:new"].epoch
    many = await streams.positions([f"kept:{number}" for number in range(2_500)])
    assert len({position.epoch for position in many.values()}) == 2_500
    assert await streams.positions([]) == {}


async def test_remove_takes_the_publications_and_leaves_the_position(publisher: Publisher, streams: Streams) -> None:
    """The next publication goes on counting, in the same epoch."""
    told = [publisher.publish("kept:a", number) for number in range(2)]
    await streams.remove("kept:a")
    found = await streams.read("kept:a")
    assert (found.offset, found.epoch, found.publications) == (2, told[0].epoch, [])
    assert not found.covers(1)
    assert publisher.publish("kept:a", 2).offset == 3
    publisher.remove("kept:a")
    assert publisher.read("kept:a").publications == []


async def test_a_channel_without_history_has_none(
    publisher: Publisher, layer: ClarionChannelLayer, streams: Streams
) -> None:
    """Error 108 for who asks; a group in no namespace is as good as before."""
    for channel in ("plain:a", "unknown:a", "nameless"):
        assert (publisher.publish(channel, 1).offset, publisher.publish(channel, 1).epoch) == (0, "")
        await layer.group_send(channel, publication(1))
        for call in (streams.read(channel), streams.remove(channel)):
            with pytest.raises(NotAvailable):
                await call
        with pytest.raises(NotAvailable):
            publisher.read(channel)
    with pytest.raises(NameInvalid):
        await streams.read("a b")


async def test_a_personal_channel_keeps_a_history(publisher: Publisher) -> None:
    """Unless the configuration says otherwise: a notification is not missed by who was away for a minute."""
    assert publisher.publish("#42", 1).offset == 1


def test_tags_and_keys_are_checked(publisher: Publisher) -> None:
    """Before Redis is asked."""
    for tags in ({"a": 1}, {1: "a"}, ["a"], "a", {"a": "\ud800"}, {"a": "x" * 5_000}):
        with pytest.raises(ValueError):  # noqa: PT011 - DataInvalid or PublicationTooLarge
            publisher.publish("kept:a", 1, tags=tags)  # type: ignore[arg-type]
    for key in ("", "x" * 201, "a\n", 7, "\ud800"):
        with pytest.raises(DataInvalid):
            publisher.publish("kept:a", 1, idempotency_key=key)  # type: ignore[arg-type]
    assert publisher.read("kept:a").offset == 0


# What travels


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("serializer_format", ["msgpack", "json"])
def test_any_json_value_comes_back_equal(shared_redis_url: str, layer_prefix: str, serializer_format: str) -> None:
    """Empty objects and lists stay what they are, integers keep 64 bits, text keeps every character."""
    publisher = Publisher([shared_redis_url], prefix=layer_prefix, config=CONFIG, serializer_format=serializer_format)

    @settings(max_examples=150, deadline=None)
    @given(data=JSON_VALUES)
    def comes_back(data: Any) -> None:
        told = publisher.publish("long:a", data)
        [found] = publisher.read("long:a", since=told.offset - 1, limit=1).publications
        assert (found.offset, found.epoch) == (told.offset, told.epoch)
        assert msgspec.json.encode(found.data) == msgspec.json.encode(data)

    comes_back()
    for data in (
        {},
        [],
        {"": {}},
        [[], {}],
        "",
        "\0",
        "é\u2028\U0001f600\0",
        "x" * 65_534,
        {"offset": 1, "epoch": "x"},
    ):
        told = publisher.publish("long:a", data)
        assert publisher.read("long:a", since=told.offset - 1).publications[0].data == data
    publisher.close()


@pytest.mark.parametrize("serializer_format", ["msgpack", "json"])
@pytest.mark.parametrize("more", [0, 8, 9, 10, 11, 12, 13, 14, 300])
async def test_a_stock_consumer_reads_offset_and_epoch(
    shared_redis_url: str, layer_prefix: str, serializer_format: str, more: int
) -> None:
    """They are two more keys of the message, whatever else is in it; both are Redis's word, not the sender's."""
    stock = RedisPubSubChannelLayer(hosts=[shared_redis_url], prefix=layer_prefix, serializer_format=serializer_format)
    layer = ClarionChannelLayer(
        [shared_redis_url], prefix=layer_prefix, config=CONFIG, serializer_format=serializer_format
    )
    member = await stock.new_channel()
    await stock.group_add("kept:a", member)
    extra = {f"extra{number}": number for number in range(more)}
    async with asyncio.timeout(20):
        for number in range(1, 301 if more == 0 else 3):
            await layer.group_send("kept:a", {**publication(number), **extra, "offset": 99, "epoch": "forged"})
            message = await stock.receive(member)
            assert message.pop("time") > 1_700_000_000_000
            epoch = message.pop("epoch")
            assert len(epoch) == 12
            assert message == {"type": "clarion.publication", "data": number, "offset": number, **extra}
        await stock.group_send("kept:a", {"type": "chat.message", "text": "live"})
        assert await stock.receive(member) == {"type": "chat.message", "text": "live"}
        await layer.group_send("kept:a", {"type": "chat.message", "text": "live"})
        assert await stock.receive(member) == {"type": "chat.message", "text": "live"}
        assert (await layer.publish("kept:a", "passing", skip_history=True)).offset == 0
        assert await stock.receive(member) == {"type": "clarion.publication", "data": "passing"}
        assert (await layer.publish("kept:a", "next")).offset == number + 1
    with redis.Redis.from_url(shared_redis_url) as client:
        for _, fields in client.xrange(f"{layer_prefix}__stream__kept:a"):
            assert (fields[b"m"].count(b"offset"), fields[b"m"].count(b"epoch")) == (1, 1)  # no key twice
    await stock.flush()
    await layer.flush()


def test_encryption_and_history_do_not_go_together(shared_redis_url: str) -> None:
    """Refused at start, each namespace by its name: the script cannot write into ciphertext."""
    for make in (Publisher, ClarionChannelLayer):
        with pytest.raises(ConfigInvalid, match=r"channel\.namespaces\.kept\.history_size") as refused:
            make([shared_redis_url], config=CONFIG, symmetric_encryption_keys=["k"])  # type: ignore[operator]
        assert len(refused.value.problems) == 5  # four namespaces and personal channels
    plain = config_parse({"channel": {"personal": {"history_size": 0, "history_ttl": "0", "force_recovery": False}}})
    Publisher([shared_redis_url], config=plain, symmetric_encryption_keys=["k"])


# What is kept


def test_a_stream_holds_exactly_its_size(publisher: Publisher) -> None:
    """Trimmed on every publish, not about so: the window is a promise."""
    for number in range(1, 301):
        publisher.publish("kept:a", number)
        expected = list(range(max(1, number - 4), number + 1))
        assert offsets(publisher.read("kept:a").publications) == expected


def test_the_stream_expires_and_the_position_stays(publisher: Publisher) -> None:
    """After history_ttl nothing is left to recover, and the next offset follows on."""
    told = [publisher.publish("brief:a", number) for number in range(3)][-1]
    wait_until(lambda: not publisher.read("brief:a").publications, 10, what="the stream expires")
    found = publisher.read("brief:a", since=2)
    assert (found.offset, found.epoch, found.covers(2), found.covers(3)) == (3, told.epoch, False, True)
    again = publisher.publish("brief:a", 3)
    assert (again.offset, again.epoch) == (4, told.epoch)


def test_an_epoch_ends_with_its_meta(publisher: Publisher, layer_prefix: str, shared_redis_url: str) -> None:
    """After history_meta_ttl offsets begin anew, under another epoch."""
    told = [publisher.publish("gone:a", number) for number in range(3)][-1]
    with redis.Redis.from_url(shared_redis_url) as client:
        wait_until(lambda: not client.exists(f"{layer_prefix}__meta__gone:a"), 10, what="the meta expires")
    again = publisher.publish("gone:a", 3)
    assert again.offset == 1
    assert again.epoch != told.epoch


def test_keys_expire(own: Publisher, redis_server: RedisServer) -> None:
    """Stream, meta and idempotency key each have their time; the meta's never ends before the stream's."""
    own.publish("kept:a", 1, idempotency_key="k")
    own.publish("brief:a", 1)
    own.read("brief:new")
    with redis_server.client() as client:
        assert 50 < client.ttl("asgi__stream__kept:a") <= 60
        assert 1_000_000 < client.ttl("asgi__meta__kept:a") <= 720 * 3600
        assert 200 < client.ttl("asgi__idem__kept:a/k") <= 300
        assert 90 < client.ttl("asgi__meta__brief:new") <= 100
        assert client.xinfo_stream("asgi__stream__kept:a")["last-generated-id"] == b"1-0"
        client.expire("asgi__meta__brief:a", 30)
        own.read("brief:a", limit=0)
        assert client.ttl("asgi__meta__brief:a") > 90  # who looks at a channel keeps its epoch


# Idempotency


def test_a_repeated_key_sends_nothing_and_answers_the_same(publisher: Publisher) -> None:
    """With and without history; another key, or another channel, is another publication."""
    first = publisher.publish("kept:a", 1, idempotency_key="k")
    assert publisher.publish("kept:a", 2, idempotency_key="k") == first
    assert publisher.publish("kept:a", 3, idempotency_key="other").offset == 2
    assert publisher.publish("kept:b", 4, idempotency_key="k").offset == 1
    assert values(publisher.read("kept:a").publications) == [1, 3]
    plain = publisher.publish("plain:a", 1, idempotency_key="k")
    assert (plain.offset, plain.epoch) == (0, "")
    assert publisher.publish("plain:a", 2, idempotency_key="k") == plain
    skipped = publisher.publish("kept:c", 1, idempotency_key="k", skip_history=True)
    assert publisher.publish("kept:c", 1, idempotency_key="k", skip_history=True) == skipped
    assert publisher.read("kept:c").offset == 0
    # A channel's name may hold what looks like the start of a key.
    assert publisher.publish("kept:a__k", 1, idempotency_key="x").offset == 1
    assert publisher.publish("kept:a", 1, idempotency_key="k__x").offset == 3


async def test_of_a_hundred_repeats_at_once_one_is_sent(layer: ClarionChannelLayer, streams: Streams) -> None:
    """Whoever comes first; all get its place."""
    told = await asyncio.gather(*(layer.publish("kept:a", number, idempotency_key="k") for number in range(100)))
    assert len(set(told)) == 1
    assert (await streams.read("kept:a")).offset == 1


# Order


@settings(max_examples=12, deadline=None)
@given(writers=st.integers(1, 8), each=st.integers(1, 40), is_sync=st.booleans())
def test_offsets_are_contiguous_and_pubsub_order_is_stream_order(
    shared_redis_url: str, writers: int, each: int, is_sync: bool
) -> None:
    """However many write at once: 1 to n, none twice, heard in that order, each writer's own in its order."""
    prefix = f"t{uuid4().hex[:12]}"
    asyncio.run(_write_at_once(shared_redis_url, prefix, writers, each, is_sync))


async def _write_at_once(url: str, prefix: str, writers: int, each: int, is_sync: bool) -> None:
    layer = ClarionChannelLayer([url], prefix=prefix, config=CONFIG)
    publisher = Publisher([url], prefix=prefix, config=CONFIG)
    streams = Streams([url], prefix=prefix, config=CONFIG, decode=layer.deserialize)
    member = await layer.new_channel()
    await layer.group_add("long:a", member)
    with publisher._shards[0] as client:
        await wait_until_async(lambda: client.pubsub_numsub(f"{prefix}__group__long:a")[0][1] == 1)

    async def write(writer: int) -> list[int]:
        told = []
        for number in range(each):
            if is_sync:
                published = await asyncio.to_thread(publisher.publish, "long:a", [writer, number])
            else:
                published = await layer.publish("long:a", [writer, number])
            told.append(published.offset)
        return told

    async with asyncio.timeout(60):
        told = await asyncio.gather(*(write(writer) for writer in range(writers)))
        heard = [await layer.receive(member) for _ in range(writers * each)]
    expected = list(range(1, writers * each + 1))
    assert sorted(offset for own in told for offset in own) == expected
    assert all(own == sorted(own) for own in told)
    assert [message["offset"] for message in heard] == expected
    found = await streams.read("long:a", since=0)
    assert found.covers(0)
    assert [(item.offset, item.data) for item in found.publications] == [
        (message["offset"], message["data"]) for message in heard
    ]
    for writer in range(writers):
        assert [item.data[1] for item in found.publications if item.data[0] == writer] == list(range(each))
    await streams.close()
    await layer.flush()
    publisher.close()
