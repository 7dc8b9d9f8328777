"""ws_gateway.hub: one encoding for all, order per member, and members that come and go."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest
import structlog

from clarion.namespaces import config_parse
from clarion.server import Connection, text_frame
from clarion.streams import Slice, Streams
from clarion.subscriber import Messages
from tests.support.waiting import wait_until_async
from ws_gateway import fanout, unkept
from ws_gateway.hub import Hub
from ws_gateway.wires import POSITIONED_PLAIN


class FakeConnection:
    """A connection that keeps what is written to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, frames: bytes) -> None:
        self.written.append(frames)

    @property
    def texts(self) -> list[bytes]:
        return list(frames_of(b"".join(self.written)))


class Scale:
    """What was written to all of its members.

    Attributes:
        bytes: since :meth:`take`. all_bytes: ever.
    """

    def __init__(self) -> None:
        self.bytes = self.all_bytes = 0

    def take(self) -> int:
        taken, self.bytes = self.bytes, 0
        self.all_bytes += taken
        return taken


class WeighedConnection:
    """A connection that keeps nothing but its part of a scale's weight."""

    def __init__(self, scale: Scale) -> None:
        self._scale = scale

    def write(self, frames: bytes) -> None:
        self._scale.bytes += len(frames)


def frames_of(raw: bytes) -> list[bytes]:
    """The payloads of unmasked text frames."""
    payloads = []
    while raw:
        assert raw[0] == 0x81
        size, start = raw[1], 2
        if size == 126:
            size, start = int.from_bytes(raw[2:4]), 4
        elif size == 127:
            size, start = int.from_bytes(raw[2:10]), 10
        payloads.append(raw[start : start + size])
        raw = raw[start + size :]
    return payloads


def decode(payload: bytes) -> dict[str, Any]:
    message: dict[str, Any] = msgpack.unpackb(payload)
    return message


def publications(channel: str, *data: Any) -> Messages:
    name = f"asgi__group__{channel}".encode()
    return {name: [msgpack.packb({"type": "clarion.publication", "data": item}) for item in data]}


@pytest.fixture
def hub() -> Hub:
    return Hub(["redis://127.0.0.1:1"], prefix="asgi", decode=decode)


async def join(hub: Hub, channel: str, connection: Any) -> None:
    async with hub.holding(channel, timeout_s=0):
        hub.join(channel, connection)


def members_a_turn(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let one turn of the event loop write to so many members."""
    monkeypatch.setattr(fanout, "WRITE_COST", 1_000_000)
    monkeypatch.setattr(fanout, "TURN_COST", count * 1_000_000)


def connections(count: int) -> list[Any]:
    return [FakeConnection() for _ in range(count)]


async def test_every_member_gets_the_very_same_bytes(hub: Hub) -> None:
    """Encoded and framed once, whatever the number of members."""
    members = connections(3)
    for member in members:
        await join(hub, "chat:x", member)
    hub.fanout.dispatch(publications("chat:x", {"a": 1}))
    assert members[0].written == [text_frame(b'{"a":1}')]
    assert members[0].written[0] is members[1].written[0] is members[2].written[0]


async def test_messages_of_one_read_are_one_write(hub: Hub) -> None:
    """Adaptive batching: what came together leaves together."""
    (member,) = connections(1)
    await join(hub, "chat:x", member)
    hub.fanout.dispatch(publications("chat:x", *range(100)))
    assert len(member.written) == 1
    assert member.texts == [str(number).encode() for number in range(100)]


async def test_a_stock_services_dict_arrives_as_that_json(hub: Hub) -> None:
    """The whole dict, its type included; an unknown type is no fault."""
    (member,) = connections(1)
    await join(hub, "chat:x", member)
    hub.fanout.dispatch({b"asgi__group__chat:x": [msgpack.packb({"type": "chat.message", "message": "hi"})]})
    assert member.texts == [b'{"type":"chat.message","message":"hi"}']


async def test_what_has_no_json_form_is_counted_and_the_rest_delivered(hub: Hub) -> None:
    """A stock service's message may hold a type of msgpack's own: it costs no other message, and no connection."""
    here, there = connections(2)
    await join(hub, "chat:x", here)
    await join(hub, "chat:y", there)
    bad = msgpack.packb({"type": "chat.message", "at": msgpack.Timestamp(1)})
    good = publications("chat:x", 1)
    name = next(iter(good))
    hub.fanout.dispatch({name: [*good[name], bad, *good[name]], **publications("chat:y", 2)})
    assert (here.texts, there.texts, hub.fanout.undecodable) == ([b"1", b"1"], [b"2"], 1)


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x93\x01", msgpack.packb([1]), msgpack.packb("x"), b"x" * 100])
async def test_what_cannot_be_decoded_is_counted_and_the_rest_delivered(hub: Hub, payload: bytes) -> None:
    """Any service may publish anything: the hub logs, counts and goes on."""
    (member,) = connections(1)
    await join(hub, "chat:x", member)
    name = b"asgi__group__chat:x"
    good = msgpack.packb({"type": "clarion.publication", "data": 1})
    hub.fanout.dispatch({name: [good, payload, good]})
    assert hub.fanout.undecodable == 1
    assert member.texts == [b"1", b"1"]
    hub.fanout.dispatch({name: [payload]})
    assert member.texts == [b"1", b"1"]


async def test_other_channels_get_nothing(hub: Hub) -> None:
    """Members of one channel do not see another's messages, and an unknown channel is no fault."""
    mine, others = connections(2)
    await join(hub, "chat:x", mine)
    await join(hub, "chat:y", others)
    hub.fanout.dispatch({**publications("chat:x", 1), **publications("chat:nobody", 2)})
    assert (mine.texts, others.texts) == ([b"1"], [])


async def test_who_left_gets_nothing_more(hub: Hub) -> None:
    """Leaving holds at once; leaving twice is no fault."""
    member, stays = connections(2)
    await join(hub, "chat:x", member)
    await join(hub, "chat:x", stays)
    hub.leave("chat:x", member)
    hub.leave("chat:x", member)
    hub.fanout.dispatch(publications("chat:x", 1))
    assert (member.texts, stays.texts) == ([], [b"1"])


async def test_a_member_that_leaves_while_it_is_written_to_disturbs_nobody(hub: Hub) -> None:
    """A write may find its peer gone, and the session leaves on that: the others still get it."""

    class Leaver(FakeConnection):
        def write(self, frames: bytes) -> None:
            hub.leave("chat:x", leaver)

    leaver: Any = Leaver()
    before, after = connections(2)
    for member in (before, leaver, after):
        await join(hub, "chat:x", member)
    hub.fanout.dispatch(publications("chat:x", 1))
    assert (before.texts, after.texts) == ([b"1"], [b"1"])


async def test_a_long_member_list_is_written_in_slices_with_order_kept(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop turns between slices; what comes meanwhile follows, all of it in one write, in order."""
    members_a_turn(monkeypatch, 10)
    members = connections(95)
    for member in members:
        await join(hub, "chat:x", member)
    hub.fanout.dispatch(publications("chat:x", 0))
    assert members[0].texts == [b"0"]
    assert members[94].texts == []  # the loop has not turned yet
    hub.fanout.dispatch(publications("chat:x", 1))
    hub.fanout.dispatch(publications("chat:x", 2, 3))
    await wait_until_async(lambda: members[94].texts == [b"0", b"1", b"2", b"3"])
    for member in members:
        assert member.texts == [b"0", b"1", b"2", b"3"]
        assert len(member.written) == 2


async def test_who_leaves_between_slices_gets_nothing_more(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The member list of a dispatch was copied, but leaving holds at once: its socket may be somebody else's by now."""
    members_a_turn(monkeypatch, 2)
    members = connections(6)
    for member in members:
        await join(hub, "chat:x", member)
    hub.fanout.dispatch(publications("chat:x", 1))
    hub.leave("chat:x", members[4])
    await wait_until_async(lambda: members[5].texts == [b"1"])
    assert members[4].texts == []


async def test_who_comes_back_between_slices_gets_nothing_twice(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts behind what is being written: on a channel with history its position says that it has that already."""
    members_a_turn(monkeypatch, 2)
    members = connections(6)
    for member in members:
        await join(hub, "chat:x", member)
    async with hub.holding("chat:x", timeout_s=0):
        hub.fanout.dispatch(publications("chat:x", 1))
        hub.leave("chat:x", members[4])
        hub.fanout.dispatch(publications("chat:x", 2))
        hub.join("chat:x", members[4])  # in the same turn of the loop
    await wait_until_async(lambda: members[4].texts[-1:] == [b"2"])
    assert members[4].texts == [b"2"]
    assert members[5].texts == [b"1", b"2"]


async def test_joins_and_leaves_amid_slices_keep_the_promise(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is a member from before a message to after its delivery gets it once, in order; seeds are fixed."""
    members_a_turn(monkeypatch, 7)
    for seed in range(20):
        chance = random.Random(seed)
        always, passing = connections(40), connections(40)
        for member in always:
            await join(hub, "chat:x", member)
        for number in range(60):
            hub.fanout.dispatch(publications("chat:x", number))
            member = chance.choice(passing)
            if chance.random() < 0.5:
                await join(hub, "chat:x", member)
            else:
                hub.leave("chat:x", member)
            if chance.random() < 0.3:
                await asyncio.sleep(0)
        for _ in range(200):
            await asyncio.sleep(0)
        for member in always:
            assert [int(text) for text in member.texts] == list(range(60))
        for member in passing:
            numbers = [int(text) for text in member.texts]
            assert numbers == sorted(set(numbers))
        for member in (*always, *passing):
            hub.leave("chat:x", member)


async def test_many_rooms_share_a_turn(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """One read with messages for many rooms is written in turns as well: what a turn costs does not grow with them."""
    members_a_turn(monkeypatch, 10)
    rooms = {f"chat:{number}": connections(4) for number in range(20)}
    for channel, members in rooms.items():
        for member in members:
            await join(hub, channel, member)
    everybody = [member for members in rooms.values() for member in members]
    messages: Messages = {}
    for channel in rooms:
        messages |= publications(channel, 1)
    hub.fanout.dispatch(messages)
    written = [sum(map(len, (member.written for member in everybody)))]
    while written[-1] < len(everybody):
        await asyncio.sleep(0)
        written.append(sum(map(len, (member.written for member in everybody))))
        assert written[-1] - written[-2] <= 10
    assert all(member.texts == [b"1"] for member in everybody)


async def test_a_turn_of_a_large_room_is_bounded_in_bytes(hub: Hub) -> None:
    """10,000 members and messages of 10 KiB: no turn writes more than a turn may cost, and all of it is written."""
    scale, text = Scale(), "x" * 10_240
    for _ in range(10_000):
        await join(hub, "chat:x", WeighedConnection(scale))
    everything = 10_000 * 25 * len(text_frame(f'"{text}"'.encode()))
    hub.fanout.dispatch(publications("chat:x", text))  # alone, then in batches of what waits
    hub.fanout.dispatch(publications("chat:x", *[text] * 24))
    turns = [scale.take()]
    while scale.all_bytes < everything:
        await asyncio.sleep(0)
        turns.append(scale.take())
        assert turns[-1], "the fan-out has stopped"
    assert scale.all_bytes == everything
    assert max(turns) <= fanout.TURN_COST


async def test_a_small_room_does_not_wait_for_a_large_one(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels are written to in rotation."""
    members_a_turn(monkeypatch, 5)
    large, (small,) = connections(100), connections(1)
    for member in large:
        await join(hub, "chat:large", member)
    await join(hub, "chat:small", small)
    hub.fanout.dispatch({**publications("chat:large", 1), **publications("chat:small", 2)})
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert small.texts == [b"2"]
    assert large[-1].texts == []
    await wait_until_async(lambda: large[-1].texts == [b"1"])


async def test_what_waits_is_written_in_batches(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much has come, one write is no more than a reader may have waiting."""
    monkeypatch.setattr(fanout, "BATCH_BYTES", 2_000)
    members = connections(3)
    for member in members:
        await join(hub, "chat:x", member)
    texts = [f"{number:0100}" for number in range(200)]
    hub.fanout.dispatch(publications("chat:x", *texts[:150]))
    hub.fanout.dispatch(publications("chat:x", *texts[150:]))
    await wait_until_async(lambda: len(members[2].texts) == 200)
    for member in members:
        assert member.texts == [f'"{text}"'.encode() for text in texts]
        assert max(map(len, member.written)) <= 2_000


async def test_what_was_delivered_is_counted(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a batch, not per member; a large room's lag ends with the last member's write."""
    members_a_turn(monkeypatch, 2)
    members = connections(5)
    for member in members:
        await join(hub, "chat:x", member)
    hub.fanout.dispatch(publications("chat:x", 1, 2, 3))
    hub.fanout.dispatch(publications("chat:x", 4))
    await wait_until_async(lambda: members[4].texts == [b"1", b"2", b"3", b"4"])
    fanout_ = hub.fanout
    assert (fanout_.deliveries, fanout_.writes) == (20, 10)
    assert fanout_.written_bytes == sum(map(len, (frames for member in members for frames in member.written)))
    assert (sum(fanout_.batches.counts), fanout_.batches.total) == (2, 4)
    assert sum(fanout_.lag.counts) == 3  # a read of which some was written at once, and both batches at their end
    assert fanout_._since == {}


async def test_a_defect_of_one_channel_stops_no_other(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a write raises is logged; its channel goes on with the next message, the others at once."""
    members_a_turn(monkeypatch, 2)
    bad, good = connections(5), connections(5)
    for channel, members in (("chat:bad", bad), ("chat:good", good)):
        for member in members:
            await join(hub, channel, member)
    raising = hub._group("chat:bad")
    assert raising is not None
    write = raising.members[bad[3]]

    def fails(_frames: bytes) -> None:
        raising.members[bad[3]] = write
        raise RuntimeError("a defect")

    raising.members[bad[3]] = fails
    hub.fanout.dispatch({**publications("chat:bad", 1), **publications("chat:good", 2)})
    await wait_until_async(lambda: good[4].texts == [b"2"])
    hub.fanout.dispatch(publications("chat:bad", 3))
    await wait_until_async(lambda: bad[4].texts == [b"3"])
    assert bad[0].texts == [b"1", b"3"]


async def test_a_flood_pauses_reading_and_resumes(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits behind a slice is bounded: over the bound Redis is read no further until it has shrunk."""
    members_a_turn(monkeypatch, 1)
    monkeypatch.setattr(fanout, "WAITING_MAX_BYTES", 1_000)
    calls: list[str] = []
    monkeypatch.setattr(hub._subscriber, "pause", lambda: calls.append("pause"))
    monkeypatch.setattr(hub._subscriber, "resume", lambda: calls.append("resume"))
    members = connections(3)
    for member in members:
        await join(hub, "chat:x", member)
    for number in range(20):
        hub.fanout.dispatch(publications("chat:x", "x" * 100 + str(number)))
    assert calls == ["pause"]
    await wait_until_async(lambda: len(members[2].texts) == 20)
    assert calls == ["pause", "resume"]


async def test_the_last_member_gives_the_subscription_back(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """One subscription per channel per process: made by the first, kept by joins under way, given back by the last."""
    calls: list[str] = []
    subscribe = hub._subscriber.subscribe
    monkeypatch.setattr(hub._subscriber, "subscribe", lambda name: calls.append(f"+{name.decode()}") or subscribe(name))
    monkeypatch.setattr(hub._subscriber, "unsubscribe", lambda name: calls.append(f"-{name.decode()}"))
    first, second = connections(2)
    await join(hub, "chat:x", first)
    async with hub.holding("chat:x", timeout_s=0):
        hub.leave("chat:x", first)
        assert "-asgi__group__chat:x" not in calls
        hub.join("chat:x", second)
    hub.leave("chat:x", second)
    assert calls.count("-asgi__group__chat:x") == 1
    async with hub.holding("chat:x", timeout_s=0):
        pass  # a join that failed
    assert calls.count("-asgi__group__chat:x") == 2


@pytest.fixture
async def kept_hub() -> AsyncIterator[Hub]:
    """A hub on which the channels of ``kept`` have a history."""
    config = config_parse({"channel": {"namespaces": [{"name": "kept", "history_size": 9, "history_ttl": "60s"}]}})
    streams = Streams(["redis://127.0.0.1:1"], config=config, decode=decode)
    yield Hub(["redis://127.0.0.1:1"], prefix="asgi", decode=decode, streams=streams, config=config)
    await streams.close()


async def test_what_no_history_holds_is_delivered_counted_and_logged_once_a_channel(kept_hub: Hub) -> None:
    """A stock service's dict on a recoverable channel; a join is none, and on a plain channel nothing is expected."""
    (member,) = connections(1)
    stock = msgpack.packb({"type": "chat.message", "n": 1})
    kept = msgpack.packb({"type": "clarion.publication", "data": 2, "offset": 1, "epoch": "e"})
    joined = msgpack.packb({"type": "clarion.join", "info": {"user": "1", "client": "c"}})
    for channel in ("kept:a", "kept:b", "plain:a"):
        await join(kept_hub, channel, member)
    with structlog.testing.capture_logs() as logs:
        for channel in ("kept:a", "kept:b", "kept:a", "plain:a"):
            kept_hub.fanout.dispatch({f"asgi__group__{channel}".encode(): [stock, kept, joined, stock]})
    assert kept_hub.fanout.unkept.count == 6
    assert [(entry["event"], entry["channel"]) for entry in logs] == [
        ("message.unkept", "kept:a"),
        ("message.unkept", "kept:b"),
    ]
    message = b'{"type":"chat.message","n":1}'
    assert member.texts.count(message) == 8
    assert member.texts.count(b"2") == 4 - 1  # the second on kept:a has an offset that had come before


async def test_a_channel_that_is_taken_again_finds_its_position(kept_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its read is its own: that of the channel's group before, which has been given up, may never be answered."""
    assert kept_hub.healer is not None
    reads: list[asyncio.Future[Slice]] = []

    def read(*_args: Any, **_options: Any) -> asyncio.Future[Slice]:
        reads.append(asyncio.get_running_loop().create_future())
        return reads[-1]

    def subscribe(_name: str) -> asyncio.Future[None]:
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        confirmed.set_result(None)
        return confirmed

    monkeypatch.setattr(kept_hub.healer, "_streams", SimpleNamespace(read=read))
    monkeypatch.setattr(
        kept_hub, "_subscriber", SimpleNamespace(confirmed=0, subscribe=subscribe, unsubscribe=lambda _name: None)
    )
    async with kept_hub.holding("kept:x", timeout_s=0, since=7) as is_ready:
        assert not is_ready
    async with asyncio.timeout(10), kept_hub.holding("kept:x", timeout_s=0, since=7):
        await wait_until_async(lambda: len(reads) == 2)
        reads[1].set_result(Slice(7, "e", []))
        await wait_until_async(lambda: kept_hub.position("kept:x") == (7, "e"))
    reads[0].cancel()


async def test_who_leaves_after_its_position_was_lost_gives_the_subscription_back(
    kept_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has been taken out of the channel before; as the last one it still ends what the process has of it."""
    names: set[bytes] = set()

    def subscribe(name: bytes) -> asyncio.Future[None]:
        names.add(name)
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        confirmed.set_result(None)
        return confirmed

    monkeypatch.setattr(
        kept_hub, "_subscriber", SimpleNamespace(confirmed=0, subscribe=subscribe, unsubscribe=names.remove)
    )
    (member,) = connections(1)
    member.position_lost = lambda channel: kept_hub.leave(channel, member, POSITIONED_PLAIN)
    [name] = publications("kept:x")
    async with kept_hub.holding("kept:x", timeout_s=0):
        kept_hub.join("kept:x", member, POSITIONED_PLAIN)
    assert names == {name}
    assert kept_hub.healer is not None
    kept_hub.healer._reset(kept_hub._groups[name], Slice(0, "another", []))
    assert names == set()
    assert kept_hub.channels() == {}


async def test_channels_that_were_logged_are_not_kept_without_bound(
    kept_hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the bound the oldest is forgotten."""
    monkeypatch.setattr(unkept, "CHANNELS_MAX", 3)
    (member,) = connections(1)
    stock = msgpack.packb({"type": "chat.message"})
    with structlog.testing.capture_logs() as logs:
        for number in (0, 1, 2, 2, 0, 3, 0):
            await join(kept_hub, f"kept:{number}", member)
            kept_hub.fanout.dispatch({f"asgi__group__kept:{number}".encode(): [stock]})
    assert [entry["channel"][-1] for entry in logs] == ["0", "1", "2", "3", "0"]
    assert len(kept_hub.fanout.unkept._told) == 3


def test_the_fake_connection_is_one() -> None:
    """The fake has what the hub uses of the real one."""
    assert hasattr(Connection, "write")
