"""Every script on each major version of Redis that is supported."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from clarion import presence_scripts, redis_scripts
from clarion.layers import ClarionChannelLayer
from clarion.namespaces import ClarionConfig, config_parse
from clarion.presence import SyncPresence
from clarion.presence_scripts import BEAT, FAREWELL, REAP, WRITE
from clarion.publisher import Publisher
from clarion.redis_scripts import PUBLISH, PUBLISH_ONCE, READ, Script
from clarion.streams import Streams
from tests.support.redis_server import redis_of

from .presence_node import Heard, Node

CONFIG: ClarionConfig = config_parse(
    {"channel": {"namespaces": [{"name": "kept", "history_size": 50, "history_ttl": "60s"}, {"name": "plain"}]}}
)
STREAMS, PRESENCE = (PUBLISH_ONCE, READ), (WRITE, BEAT, REAP, FAREWELL)
DATA = [{"n": number, "e": [{}, [], "\x00 ü 👋", -(2**63), 2**64 - 1, 1.5, None]} for number in range(3)]


@pytest.fixture(params=[7, 8], scope="module")
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """One Redis of each version; perhaps not for these tests alone."""
    with redis_of(request.param) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url, socket_timeout=20) as client:
        yield client


@pytest.mark.parametrize("serializer", ["msgpack", "json"])
async def test_scripts_of_streams(url: str, client: redis.Redis, layer_prefix: str, serializer: str) -> None:
    """Offsets, any JSON, idempotency keys, reading both ways, positions, and a new epoch after a loss."""
    layer = ClarionChannelLayer([url], prefix=layer_prefix, config=CONFIG, serializer_format=serializer)
    streams = Streams([url], prefix=layer_prefix, config=CONFIG, decode=layer.deserialize)
    told = [await layer.publish("kept:a", data) for data in DATA]
    keyed = [await layer.publish("kept:a", 3, idempotency_key="k") for _ in range(2)]
    assert [published.offset for published in told + keyed] == [1, 2, 3, 4, 4]
    plain = [await layer.publish("plain:a", 1, idempotency_key="k") for _ in range(2)]
    assert plain[0] == plain[1]
    found = await streams.read("kept:a", since=1, limit=2)
    assert [item.data for item in found.publications] == DATA[1:]
    assert [item.offset for item in (await streams.read("kept:a", since=3, reverse=True)).publications] == [2, 1]
    assert 0 < client.pttl(f"{layer_prefix}__stream__kept:a") <= 60_000
    client.hset(f"{layer_prefix}__meta__kept:a", "o", 1)  # as after a failover that lost the last writes
    assert (await layer.publish("kept:a", 1)).offset == 1
    assert (await streams.positions(["kept:a"]))["kept:a"].epoch != told[0].epoch
    for number in range(60):
        await layer.publish("kept:a", number)
    assert [item.offset for item in (await streams.read("kept:a")).publications] == list(range(12, 62))
    await streams.remove("kept:a")
    assert (await streams.read("kept:a")).publications == []
    assert_ran(client, PUBLISH[serializer], *STREAMS)
    await streams.close()
    await layer.flush()


def test_scripts_of_presence(url: str, client: redis.Redis, layer_prefix: str) -> None:
    """Beats, writes of every kind, a dead gateway's entries, and leaving."""
    one, two, three = (Node(client, layer_prefix, uid) for uid in ("one", "two", "three"))
    heard = Heard(client, layer_prefix, "chat:x")
    publisher = Publisher([url], prefix=layer_prefix)
    presence = SyncPresence(publisher)
    for node in (one, two, three):
        node.steady()
    assert one.write(1, one.enter("chat:x", "a"), one.enter("chat:x", "b", kind="again")) == b""
    assert one.write(1, one.enter("chat:x", "a")) == b""  # it has been done
    assert two.write(1, two.enter("chat:x", "c")) == b""
    assert two.write(2, two.enter("chat:x", "d"), ("leave", "chat:x", "d", "", "leave")) == b"1"
    assert heard.all() == [b"join"] * 4 + [b"leave"]
    assert set(presence.read("chat:x")) == {"a", "b", "c"}
    two.die()
    assert one.reap() == [b"two", 1]
    assert len(heard.all()) == 1
    assert set(presence.read("chat:x")) == {"a", "b"}
    assert one.write(2, ("drop", "chat:x", "b", "", "")) == b"1"
    assert len(heard.all()) == 1
    one.farewell()
    three.steady()
    assert three.reap() == [b"one", 1]  # it left with an entry: dead at once
    three.farewell()
    assert presence.read("chat:x") == {}
    assert not client.exists(one.nodes, one.key, one.entries, three.key)
    assert_ran(client, *PRESENCE)
    publisher.close()


def test_no_script_is_left_out() -> None:
    """A new script needs a line above."""
    every = {
        script
        for module in (redis_scripts, presence_scripts)
        for value in vars(module).values()
        for script in (value.values() if isinstance(value, dict) else [value])
        if isinstance(script, Script)
    }
    assert every == {*PUBLISH.values(), *STREAMS, *PRESENCE}


def assert_ran(client: redis.Redis, *scripts: Script) -> None:
    """Redis knows a script that it has run."""
    assert client.script_exists(*(script.sha for script in scripts)) == [True] * len(scripts)
