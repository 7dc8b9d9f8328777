"""Presence in a real Redis: what each script does in one step, and reading from synchronous code."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from uuid import uuid4

import pytest
import redis
from channels_redis.utils import _consistent_hash

from clarion.errors import ChannelLayerUnavailable, NameInvalid
from clarion.names import redis_group, redis_presence
from clarion.presence import Stats, SyncPresence
from clarion.publisher import Publisher
from tests.support.redis_server import RedisServer
from tests.support.redis_server import redis_server as running_redis

from .presence_node import LATE_MS, Heard, Node

STEP_MAX_US = 10_000
"""Longest that a step may hold up everybody else."""


@pytest.fixture
def client(shared_redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(shared_redis_url, socket_timeout=20) as client:
        yield client


@pytest.fixture
def one(client: redis.Redis, layer_prefix: str) -> Node:
    return Node(client, layer_prefix, "one")


@pytest.fixture
def two(client: redis.Redis, layer_prefix: str) -> Node:
    return Node(client, layer_prefix, "two")


@pytest.fixture
def presence(shared_redis_url: str, layer_prefix: str) -> Iterator[SyncPresence]:
    publisher = Publisher([shared_redis_url], prefix=layer_prefix)
    yield SyncPresence(publisher)
    publisher.close()


# Writing


def test_a_write_that_was_done_is_not_done_again(client: redis.Redis, one: Node) -> None:
    """Its answer was lost, it is sent again: Redis knows it by its number, answers the same and tells nobody twice."""
    heard = Heard(client, one.prefix, "chat:x")
    assert one.write(1, one.enter("chat:x", "a")) == b""
    assert one.write(1, one.enter("chat:x", "a")) == b""
    assert one.write(2, ("leave", "chat:x", "a", "", "leave")) == b"1"
    assert one.write(2, ("leave", "chat:x", "a", "", "leave")) == b"1"
    assert heard.all() == [b"join", b"leave"]
    assert not client.exists(redis_presence(one.prefix, "chat:x"), one.entries)


def test_what_is_written_again_is_told_only_if_it_had_been_gone(client: redis.Redis, one: Node) -> None:
    """After a loss all is written again: nobody hears of who was there all the time."""
    heard = Heard(client, one.prefix, "chat:x")
    one.write(1, one.enter("chat:x", "a", message=""), one.enter("chat:x", "b", message=""))
    client.hdel(redis_presence(one.prefix, "chat:x"), "b")
    one.write(2, one.enter("chat:x", "a", kind="again", message="a"), one.enter("chat:x", "b", kind="again"))
    assert heard.all() == [b"join"]
    assert client.hlen(redis_presence(one.prefix, "chat:x")) == 2


def test_a_drop_tells_what_the_entry_says_and_spares_others(client: redis.Redis, one: Node, two: Node) -> None:
    """An entry that came back with an old snapshot goes; another gateway's stays."""
    heard = Heard(client, one.prefix, "chat:x")
    one.write(1, one.enter("chat:x", "a", message=""), one.enter("chat:x", "b", message="", is_told=False))
    two.write(1, two.enter("chat:x", "c", message=""))
    one.write(2, *(("drop", "chat:x", name, "", "") for name in "abc"))
    assert client.hkeys(redis_presence(one.prefix, "chat:x")) == [b"c"]
    assert len(heard.all()) == 1
    assert not client.exists(one.entries)


def test_a_key_of_another_type_is_replaced(client: redis.Redis, one: Node) -> None:
    """The name is ours: a foreign value under it must not stop a gateway's writing for good."""
    key = redis_presence(one.prefix, "chat:x")
    client.set(key, "foreign")
    one.write(1, ("leave", "chat:x", "z", "", ""), one.enter("chat:x", "a"))
    assert client.hkeys(key) == [b"a"]
    client.delete(key)
    client.set(key, "foreign")
    one.write(2, ("drop", "chat:x", "a", "", ""), ("leave", "chat:x", "a", "", ""))
    assert client.get(key) == b"foreign"


def test_a_write_of_a_forgotten_node_can_be_found(client: redis.Redis, one: Node, two: Node) -> None:
    """Its bytes arrive after it was reaped, and it is dead indeed: what they write is reaped, too."""
    one.write(5, one.enter("chat:x", "a"))
    one.die()
    two.steady()
    assert two.reap() == [b"one", 1]
    assert one.write(6, one.enter("chat:x", "b")) == b""
    one.die()
    assert two.reap() == [b"one", 1]
    assert not client.exists(redis_presence(one.prefix, "chat:x"))


# Dying


def test_reaping_removes_and_tells(client: redis.Redis, one: Node, two: Node, presence: SyncPresence) -> None:
    """Entries go, leaves are told where joins were, other gateways' entries stay, the node is forgotten."""
    heard = Heard(client, one.prefix, "chat:x")
    one.beat()
    two.steady()
    one.write(1, one.enter("chat:x", "a", message=""), one.enter("chat:x", "b", message="", is_told=False))
    two.write(1, two.enter("chat:x", "c", message=""))
    assert two.reap() == []
    one.die()
    assert list(presence.read("chat:x")) == ["c"]
    assert two.reap() == [b"one", 2]
    assert two.reap() == []
    told = [presence._publisher.deserialize(payload) for payload in heard.all()]
    assert told == [{"type": "clarion.leave", "info": {"user": "7", "client": "a"}}]
    assert client.hkeys(redis_presence(one.prefix, "chat:x")) == [b"c"]
    assert client.zrange(one.nodes, 0, -1) == [b"two"]
    assert not client.exists(one.key, one.entries)


def test_survivors_share_the_work(client: redis.Redis, one: Node, two: Node) -> None:
    """Two reap step by step: each entry is removed and told once."""
    three = Node(client, one.prefix, "three")
    heard = Heard(client, one.prefix, "chat:x")
    one.beat()
    two.steady()
    three.steady()
    one.write(1, *(one.enter("chat:x", str(number), message="") for number in range(100)))
    one.die()
    counts = []
    while found := [*two.reap(7), *three.reap(11)]:
        counts += found[1::2]
    assert sum(counts) == 100
    assert max(counts) <= 11
    assert len(heard.all()) == 100


def test_a_node_that_comes_back_is_not_reaped_on(client: redis.Redis, one: Node, two: Node) -> None:
    """It was only slow: the rest stays, and it learns that something was taken."""
    one.beat()
    two.steady()
    one.write(1, *(one.enter("chat:x", str(number)) for number in range(20)))
    one.die()
    assert two.reap(5) == [b"one", 5]
    assert one.beat() == b""
    assert two.reap(5) == []
    assert client.hlen(redis_presence(one.prefix, "chat:x")) == 15


@pytest.mark.parametrize("own", ["unknown", "late", "young"])
def test_only_who_beats_steadily_may_judge(client: redis.Redis, one: Node, two: Node, own: str) -> None:
    """When Redis was away everybody looks dead: who has just come back reaps nobody."""
    one.beat()
    one.write(1, one.enter("chat:x", "a"))
    two.steady()
    if own == "unknown":
        client.zrem(two.nodes, "two")
    elif own == "late":
        client.zincrby(two.nodes, -LATE_MS - 1_000, "two")
    else:
        client.zincrby(two.nodes, -LATE_MS - 1_000, "two")
        two.beat()
    one.die()
    assert two.reap() == []
    two.steady()
    assert two.reap() == [b"one", 1]


def test_a_foreign_value_does_not_stop_the_reaping(client: redis.Redis, one: Node, two: Node) -> None:
    """Neither a key of another type nor an entry that another gateway has written since."""
    one.beat()
    two.steady()
    one.write(1, *(one.enter(f"chat:{name}", "a") for name in "xyz"))
    client.set(redis_presence(one.prefix, "chat:x"), "foreign")
    client.hset(redis_presence(one.prefix, "chat:y"), "a", two.value("a"))
    client.sadd(one.entries, "no entry at all", "")
    one.die()
    assert two.reap() == [b"one", 5]
    assert client.exists(*(redis_presence(one.prefix, f"chat:{name}") for name in "xyz")) == 2


def test_a_dead_node_of_10000_entries_is_reaped_in_short_steps(redis_server: RedisServer) -> None:
    """Redis serves others in between: no step takes 10 ms (the odd one may, when the machine itself stands still)."""
    with redis_server.client() as client:
        one, two = Node(client, "p", "one"), Node(client, "p", "two")
        one.beat()
        two.steady()
        for number in range(40):
            one.write(number, *(one.enter(f"chat:{item % 100}", f"{number}-{item}", message="") for item in range(250)))
        assert client.scard(one.entries) == 10_000
        one.die()
        client.config_set("slowlog-max-len", 1000)
        client.config_set("slowlog-log-slower-than", 100)  # us: the steps, not the commands within
        reaped = 0
        while found := two.reap():
            reaped += found[1]
        client.config_set("slowlog-log-slower-than", -1)
        steps = [entry["duration"] for entry in client.slowlog_get(1000) if entry["command"].startswith(b"EVAL")]
        print(f"{len(steps)} steps, median {statistics.median(steps)} us, longest {max(steps)} us")
        assert reaped == 10_000
        assert len(steps) >= 30  # the last one is short
        assert sorted(steps)[-3] < STEP_MAX_US
        assert not client.keys("p__presence__*")


def test_farewell_forgets_a_node_or_hands_over_what_remains(client: redis.Redis, one: Node, two: Node) -> None:
    """Who has nobody left is gone at once; else it is dead at once, and its entries are reaped."""
    one.beat()
    two.steady()
    one.write(1, one.enter("chat:x", "a"))
    one.farewell()
    assert two.reap() == [b"one", 1]
    one.beat()
    one.farewell()
    assert client.zrange(one.nodes, 0, -1) == [b"two"]
    assert not client.exists(one.key)


def test_a_full_redis_lets_heartbeats_through(redis_server: RedisServer) -> None:
    """Over maxmemory nothing is written, yet no gateway looks dead."""
    with redis_server.client() as client:
        one = Node(client, "p", "one")
        one.beat()
        one.die()
        client.config_set("maxmemory", "1kb")  # less than an empty one uses
        one.beat()
        assert client.zscore(one.nodes, "one") > 1
        with pytest.raises(redis.ResponseError):
            one.write(1, one.enter("chat:x", "a"))


# Reading


def test_synchronous_code_reads_members_numbers_and_nodes(one: Node, two: Node, presence: SyncPresence) -> None:
    """What http-api answers to presence, presence_stats and info."""
    assert (presence.read("chat:x"), presence.stats("chat:x"), presence.nodes()) == ({}, Stats(0, 0), [])
    one.beat()
    two.beat()
    one.write(1, one.enter("chat:x", "a"), one.enter("chat:x", "b"))
    two.write(1, two.enter("chat:x", "c", user="8"))
    assert presence.read("chat:x") == {
        "a": {"user": "7", "client": "a"},
        "b": {"user": "7", "client": "b"},
        "c": {"user": "8", "client": "c"},
    }
    assert presence.stats("chat:x") == Stats(num_clients=3, num_users=2)
    assert sorted(str(facts["uid"]) for facts in presence.nodes()) == ["one", "two"]
    with pytest.raises(NameInvalid):
        presence.read("chat x")


def test_a_large_channel_is_read_whole(one: Node, presence: SyncPresence) -> None:
    """Page by page, each member once."""
    one.beat()
    for number in range(20):
        one.write(number, *(one.enter("chat:x", f"{number}-{item}") for item in range(250)))
    assert len(presence.read("chat:x")) == 5_000
    assert presence.stats("chat:x") == Stats(5_000, 1)


def test_each_shard_has_its_channels_and_all_nodes() -> None:
    """A channel's presence is where its group is; nodes are told by any shard that answers."""
    with running_redis() as first, running_redis() as second:
        prefix = f"t{uuid4().hex[:12]}"
        publisher = Publisher([first.url, second.url], prefix=prefix, timeout_s=0.5)
        presence = SyncPresence(publisher)
        clients = [first.client(), second.client()]
        shards = [Node(client, prefix, "one") for client in clients]
        for shard in shards:
            shard.beat()
        channels = [f"chat:{number}" for number in range(20)]
        for number, channel in enumerate(channels):
            shard = shards[_consistent_hash(redis_group(prefix, channel), 2)]
            shard.write(number, shard.enter(channel, "a"))
        assert {len(presence.read(channel)) for channel in channels} == {1}
        assert 0 < len(clients[0].keys(f"{prefix}__presence__*")) < 20
        first.stop()
        assert [facts["uid"] for facts in presence.nodes()] == ["one"]
        second.stop()
        with pytest.raises(ChannelLayerUnavailable):
            presence.nodes()
        with pytest.raises(ChannelLayerUnavailable):
            presence.stats("chat:x")
        publisher.close()
        for client in clients:
            client.close()
