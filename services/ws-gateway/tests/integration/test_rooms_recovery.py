"""Plain rooms with ``?since=`` on real gateways: nothing is missed, nothing comes twice, and what is lost is told."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from socket import SO_RCVBUF, SOL_SOCKET, socket
from uuid import uuid4

import pytest
from redis import Redis
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from clarion.codes import RoomCloseCode
from clarion.names import redis_meta, redis_stream
from clarion.publisher import Publisher
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until_async

from .conftest import GatewayProcess, close_of, received, running_gateway
from .room_reader import RoomReader

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def gateway(shared_gateway: GatewayProcess) -> GatewayProcess:
    """Most tests leave the gateway as it is, and share one; each has channels of its own."""
    return shared_gateway


@pytest.fixture
def channel() -> str:
    """A channel with history, of one test alone."""
    return f"kept:{uuid4().hex}"


async def test_who_comes_back_gets_what_was_missed_then_what_comes(gateway: GatewayProcess, channel: str) -> None:
    """In order, each once; the recover frame is the first one and says where live messages begin."""
    places = [gateway.publisher.publish(channel, number) for number in range(1, 6)]
    epoch = places[0].epoch
    async with gateway.connect(channel, query=f"?since=2&epoch={epoch}") as plain:
        assert await received(plain, 4) == [{"recover": {"recovered": True, "offset": 5, "epoch": epoch}}, 3, 4, 5]
        async with gateway.connect(channel, query=f"?since=3&epoch={epoch}&envelope=1") as wrapped:
            recover, *messages = await received(wrapped, 3)
            assert recover == {"recover": {"recovered": True, "offset": 5, "epoch": epoch}}
            gateway.publisher.publish(channel, 6)
            messages += await received(wrapped, 1)
            assert await received(plain, 1) == [6]
    assert [(message["data"], message["offset"], message["epoch"]) for message in messages] == [
        (number, number, epoch) for number in (4, 5, 6)
    ]
    assert all(message.keys() == {"data", "offset", "epoch", "time"} for message in messages)
    assert all(abs(message["time"] / 1000 - time.time()) < 60 for message in messages)


async def test_who_missed_nothing_is_told_so(gateway: GatewayProcess, channel: str) -> None:
    """recovered is true and nothing follows but what comes; without an epoch any stream is meant."""
    place = gateway.publisher.publish(channel, 1)
    for query in (f"?since=1&epoch={place.epoch}", "?since=1"):
        async with gateway.connect(channel, query=query) as socket:
            assert await received(socket, 1) == [{"recover": {"recovered": True, "offset": 1, "epoch": place.epoch}}]
    async with gateway.connect(channel, query="?since=0") as socket:
        assert (await received(socket, 2))[1] == 1


async def test_hello_tells_the_place_and_comes_first(gateway: GatewayProcess, channel: str) -> None:
    """With it a page that has just loaded its state knows from where it would recover."""
    place = gateway.publisher.publish(channel, 1)
    who = {"node": "gateway-test", "channel": channel, "user": "7", "offset": 1, "epoch": place.epoch}
    async with gateway.connect(channel, query="?hello=1") as socket:
        assert await received(socket, 1) == [{"hello": who}]
    async with gateway.connect(channel, query="?hello=1&since=0") as socket:
        assert await received(socket, 3) == [
            {"hello": who},
            {"recover": {"recovered": True, "offset": 1, "epoch": place.epoch}},
            1,
        ]


async def test_what_cannot_be_recovered_is_told(gateway: GatewayProcess, channel: str) -> None:
    """Another epoch, an offset that no stream has reached, more than recovery_max_publication_limit."""
    for number in range(1, 302):
        place = gateway.publisher.publish(channel, number)
    answer = {"recover": {"recovered": False, "offset": 301, "epoch": place.epoch}}
    for query in ("?since=300&epoch=other", f"?since=400&epoch={place.epoch}", f"?since=0&epoch={place.epoch}"):
        async with gateway.connect(channel, query=query) as socket:
            assert await received(socket, 1) == [answer]
            gateway.publisher.publish_message(channel, {"n": 1})
            assert await received(socket, 1) == [{"n": 1}]  # it goes on live
    async with gateway.connect(channel, query=f"?since=1&epoch={place.epoch}") as socket:
        assert (await received(socket, 301))[-1] == 301


async def test_a_channel_without_history_recovers_nothing(gateway: GatewayProcess) -> None:
    """Offset 0 and no epoch; the client goes on live, in envelopes without a place."""
    async with gateway.connect("chat:none", query="?since=3&epoch=e&envelope=1") as socket:
        assert await received(socket, 1) == [{"recover": {"recovered": False, "offset": 0, "epoch": ""}}]
        gateway.publisher.publish("chat:none", 1)
        message = (await received(socket, 1))[0]
        assert message.keys() == {"data", "time"}


async def test_a_history_that_clients_may_not_read_is_not_recovered(gateway: GatewayProcess) -> None:
    """Neither force_recovery, allow_recovery nor the right to the history: recovered is false, and it goes on live."""
    channel = f"recorded:{uuid4().hex}"
    place = gateway.publisher.publish(channel, "before")
    async with gateway.connect(channel, query="?since=0") as socket:
        assert await received(socket, 1) == [{"recover": {"recovered": False, "offset": 1, "epoch": place.epoch}}]
        gateway.publisher.publish(channel, "after")
        assert await received(socket, 1) == ["after"]


async def test_a_cache_channel_brings_its_newest_publication(gateway: GatewayProcess) -> None:
    """force_recovery_mode = "cache": the state, however many were missed; nothing for who has it already."""
    channel = f"newest:{uuid4().hex}"
    for number in range(1, 5):
        place = gateway.publisher.publish(channel, number)
    recover = {"recover": {"recovered": True, "offset": 4, "epoch": place.epoch}}
    async with gateway.connect(channel, query="?since=1&epoch=other") as socket:
        assert await received(socket, 2) == [recover, 4]
        async with gateway.connect(channel, query=f"?since=4&epoch={place.epoch}") as other:
            assert await received(other, 1) == [recover]
            gateway.publisher.publish(channel, 5)
            assert await received(other, 1) == await received(socket, 1) == [5]


async def test_an_envelope_names_the_signed_in_author(gateway: GatewayProcess, channel: str) -> None:
    """The user of a client's frame; a service's publication has none."""
    async with gateway.connect(channel) as sender, gateway.connect(channel, query="?envelope=1") as reader:
        await sender.send('{"text": "hi"}')
        message = (await received(reader, 1))[0]
        assert (message["data"], message["user"], message["offset"]) == ({"text": "hi"}, "7", 1)
        assert await received(sender, 1) == [{"text": "hi"}]
        gateway.publisher.publish(channel, 2)
        assert "user" not in (await received(reader, 1))[0]


async def test_a_stock_services_dict_is_live_without_a_place_and_logged_once(
    gateway: GatewayProcess, channel: str
) -> None:
    """It reaches everybody, is not recovered, and the log names the channel once."""
    async with gateway.connect(channel, query="?since=0&envelope=1") as socket:
        await received(socket, 1)
        for number in range(3):
            gateway.publisher.publish_message(channel, {"type": "chat.message", "n": number})
        gateway.publisher.publish(channel, "kept")
        messages = await received(socket, 4)
    assert [message["data"] for message in messages] == [{"type": "chat.message", "n": n} for n in range(3)] + ["kept"]
    assert ["offset" in message for message in messages] == [False, False, False, True]
    async with gateway.connect(channel, query="?since=0") as socket:
        assert (await received(socket, 2))[1] == "kept"
    told = [event for event in gateway.events if event["event"] == "message.unkept" and event["channel"] == channel]
    assert len(told) == 1


@pytest.mark.parametrize(
    "query", ["since=-1", "since=", "since=1.5", "since=x", "since=11111111111111111111", f"since=1&epoch={'e' * 65}"]
)
async def test_a_bad_place_is_refused(gateway: GatewayProcess, channel: str, query: str) -> None:
    """4400, with a reason that says what is wrong."""
    code, reason = await close_of(gateway.connect(channel, query=f"?{query}"))
    assert code == 4400
    assert reason.startswith(("since is", "epoch has"))


async def test_a_client_that_saw_more_elsewhere_waits_until_it_is_here(
    gateway: GatewayProcess, channel: str, shared_redis_url: str
) -> None:
    """Its since is newer than what has reached this gateway: the stream brings the rest to all members, then to it."""
    elsewhere = f"t{uuid4().hex[:12]}"
    kept = (redis_meta, redis_stream)
    async with gateway.connect(channel, query="?since=0") as before:
        await received(before, 1)
        for number in (1, 2, 3):
            place = gateway.publisher.publish(channel, number)
        assert await received(before, 3) == [1, 2, 3]
        with Redis.from_url(shared_redis_url) as redis:  # 4 and 5 are in the stream, but their PUBLISH went elsewhere
            for name in kept:
                redis.copy(name(gateway.prefix, channel), name(elsewhere, channel))
            other = Publisher([shared_redis_url], prefix=elsewhere, config=gateway.folder / "clarion.toml")
            for number in (4, 5):
                assert other.publish(channel, number).offset == number
            other.close()
            for name in kept:
                redis.copy(name(elsewhere, channel), name(gateway.prefix, channel), replace=True)
        async with gateway.connect(channel, query=f"?since=5&epoch={place.epoch}") as ahead:
            assert await received(ahead, 1) == [{"recover": {"recovered": True, "offset": 5, "epoch": place.epoch}}]
            assert await received(before, 2) == [4, 5]
            gateway.publisher.publish(channel, 6)
            assert await received(before, 1) == await received(ahead, 1) == [6]


async def test_a_stream_that_is_gone_is_told_to_who_counts_and_to_who_comes_back(
    gateway: GatewayProcess, channel: str, shared_redis_url: str
) -> None:
    """In mid-connection 4410, while who did not ask for it goes on; then recovered is false under the new epoch."""
    old = gateway.publisher.publish(channel, 1)
    async with (
        gateway.connect(channel, query="?envelope=1") as live,
        gateway.connect(channel, query=f"?since=1&epoch={old.epoch}") as counts,
        gateway.connect(channel, query=f"?since=0&epoch={old.epoch}&envelope=1") as also_counts,
    ):
        await received(counts, 1)
        await received(also_counts, 2)
        with Redis.from_url(shared_redis_url) as redis:  # as FLUSHALL does, to this channel alone
            redis.delete(redis_meta(gateway.prefix, channel), redis_stream(gateway.prefix, channel))
        new = gateway.publisher.publish(channel, "new")
        assert new.epoch != old.epoch
        for socket in (counts, also_counts):
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, bool(closed.value.rcvd.reason)) == (4410, True)
        message = (await received(live, 1))[0]
        assert (message["data"], message["offset"], message["epoch"]) == ("new", 1, new.epoch)
        async with gateway.connect(channel, query=f"?since=1&epoch={old.epoch}") as back:
            assert await received(back, 1) == [{"recover": {"recovered": False, "offset": 1, "epoch": new.epoch}}]
            gateway.publisher.publish(channel, "newer")
            assert await received(back, 1) == ["newer"]


def narrow_socket(gateway: GatewayProcess) -> socket:
    """A connection that takes little ahead of its reader."""
    made = socket()
    made.setsockopt(SOL_SOCKET, SO_RCVBUF, 65_536)
    made.connect(("127.0.0.1", gateway.port))
    return made


async def test_who_was_too_slow_comes_back_and_misses_nothing(
    gateway: GatewayProcess, channel: str, shared_redis_url: str
) -> None:
    """Over 1 MiB waits: told so by 4408; 15 MB that it missed then come at its own pace, live ones behind them."""
    reader = RoomReader(channel)
    slow = await reader.open(gateway, max_queue=1, sock=narrow_socket(gateway))
    for number in range(250):
        gateway.publisher.publish(channel, [number, "x" * 60_000])
    name = f"{gateway.prefix}__group__{channel}"
    with Redis.from_url(shared_redis_url) as redis:
        await wait_until_async(lambda: redis.pubsub_numsub(name)[0][1] == 0, what="the slow client is cut")
    assert await reader.take_all(slow) == RoomCloseCode.SLOW
    assert 0 < len(reader.taken) < 250
    back = await reader.open(gateway, max_queue=1, sock=narrow_socket(gateway))
    for number in range(250, 270):
        gateway.publisher.publish(channel, [number, ""])
    await reader.take(back, 270 - len(reader.taken))
    await back.close()
    assert [number for number, _ in reader.taken] == list(range(270))
    assert reader.recovers == [True, True]


class Own:
    """Two gateways on a Redis of their own."""

    def __init__(self, redis: RedisServer, gateways: list[GatewayProcess]) -> None:
        self.redis = redis
        self.gateways = gateways
        self.publisher = gateways[0].publisher


@pytest.fixture
def own(redis_server: RedisServer, migrated_database: Path, tmp_path: Path) -> Iterator[Own]:
    prefix = f"t{uuid4().hex[:12]}"
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with (
        running_gateway(folders[0], redis_server.url, migrated_database, prefix=prefix) as one,
        running_gateway(folders[1], redis_server.url, migrated_database, prefix=prefix) as two,
    ):
        yield Own(redis_server, [one, two])


async def follow(reader: RoomReader, own: Own, chance: random.Random, last: int) -> None:
    """Read until the last publication, over many connections, each cut off after a random number of messages."""
    while not reader.taken or reader.taken[-1] != last:
        try:
            client = await reader.open(chance.choice(own.gateways))
            for _ in range(chance.randrange(80)):
                if reader.taken and reader.taken[-1] == last:
                    break
                await reader.take(client, 1)
            client.transport.abort()  # whatever is under way is lost
        except (OSError, InvalidHandshake, ConnectionClosed):  # a gateway is being restarted
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_each_log_is_the_stream_once_in_order(own: Own, channel: str, seed: int) -> None:
    """However often clients are cut off and gateways lose their Redis connection, and while one is restarted."""
    chance = random.Random(seed)
    readers = [RoomReader(channel) for _ in range(12)]
    count = 290  # one more than recovery_max_publication_limit would be told as lost

    async def publish() -> None:
        for number in range(1, count + 1):
            await asyncio.to_thread(own.publisher.publish, channel, number)
            await asyncio.sleep(chance.random() / 40)

    async def disturb() -> None:
        with own.redis.client() as redis:
            while True:
                await asyncio.sleep(0.15)
                redis.client_kill_filter(_type="pubsub")

    async def restart() -> None:
        gateway = chance.choice(own.gateways)
        await wait_until_async(lambda: len(readers[0].taken) > 50)
        assert await asyncio.to_thread(gateway.stop) == 0
        await asyncio.to_thread(gateway.start)

    disturbing = asyncio.create_task(disturb())
    following = [follow(reader, own, random.Random(seed * 100 + n), count) for n, reader in enumerate(readers)]
    try:
        async with asyncio.timeout(90):
            await asyncio.gather(publish(), restart(), *following)
    finally:
        disturbing.cancel()
    for reader in readers:
        assert reader.taken == list(range(1, count + 1))
        assert set(reader.recovers) == {True}
    assert sum(len(reader.recovers) for reader in readers) > 2 * len(readers)
    assert all(any(event["event"] == "redis.lost" for event in gateway.events) for gateway in own.gateways)


async def test_who_asks_while_redis_is_away_is_told_to_come_back(own: Own, channel: str) -> None:
    """1013 with a reason: recovered would be a guess. Who asks for nothing stays, and hears when Redis is back."""
    gateway = own.gateways[0]
    own.redis.stop()
    await wait_until_async(lambda: gateway.health("ready") == 503)
    for name in (channel, "recorded:x"):
        code, reason = await close_of(gateway.connect(name, query="?since=0"))
        assert (code, reason) == (1013, "what was missed cannot be read now: come back")
    async with (
        gateway.connect(channel, query="?hello=1") as live,
        gateway.connect("chat:x", query="?since=1") as without_history,
    ):
        assert "offset" not in (await received(live, 1))[0]["hello"]
        assert not (await received(without_history, 1))[0]["recover"]["recovered"]
        own.redis.start()
        await wait_until_async(lambda: gateway.health("ready") == 200)
        own.publisher.publish(channel, 1)
        assert await received(live, 1) == [1]
    async with gateway.connect(channel, query="?since=0") as socket:
        assert (await received(socket, 2))[1] == 1


async def test_a_redis_that_lost_its_data_tells_every_client(own: Own, channel: str) -> None:
    """FLUSHALL under open sockets on two gateways: 4410 on both, also while nothing is published."""
    place = own.publisher.publish(channel, 1)
    sockets = [
        await gateway.connect(channel, query=f"?since=1&epoch={place.epoch}")
        for gateway in own.gateways
        for _ in range(3)
    ]
    for client in sockets:
        assert (await received(client, 1))[0]["recover"]["recovered"]
    with own.redis.client() as redis:
        redis.flushall()
    for client in sockets:  # at the latest with the next comparison of positions, every ten seconds
        async with asyncio.timeout(60):
            await client.wait_closed()
        assert client.close_code == 4410
