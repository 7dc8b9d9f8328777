"""notifier.sending with a layer in memory: which list each message ends in."""

from __future__ import annotations

import asyncio
import time

import pytest

from clarion.errors import ChannelLayerUnavailable
from clarion.ids import uuid7
from clarion.outbox.claims import ClaimedMessage
from clarion.publications import Message
from notifier.sending import LANES, RetryPolicy, Sender

FAR = time.monotonic() + 3600


class MemoryLayer:
    """Keeps what is sent; away after ``sends`` messages."""

    def __init__(self, sends: int = 10_000) -> None:
        self.sent: list[tuple[str, object]] = []
        self.keys: list[tuple[str, str, object]] = []
        self.at_once = self.most_at_once = 0
        self._left = sends

    async def publication_send(
        self, channel: str, message: Message, *, publication_id: str, idempotency_key: str
    ) -> object:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self._left == 0:
            raise ChannelLayerUnavailable
        self._left -= 1
        self.sent.append((channel, message["data"]))
        self.keys.append((publication_id, idempotency_key, message.get("tags")))
        return None

    async def flush(self) -> None:
        """Nothing to close."""


def claimed(channel: str, data: str, attempts: int = 0) -> ClaimedMessage:
    return ClaimedMessage(uuid7(), 0, channel, data, attempts)


async def test_sender_keeps_each_channels_order() -> None:
    """Channels side by side, each in its own order, a bounded number at a time."""
    layer = MemoryLayer()
    messages = [claimed(f"chat:{number % 20}", str(number)) for number in range(200)]
    outcome = await Sender(layer, RetryPolicy(5, 1)).send(messages, FAR)
    assert set(outcome.sent) == {message.id for message in messages}
    assert (outcome.failed, outcome.released, outcome.is_outage) == ([], [], False)
    for channel in range(20):
        assert [data for group, data in layer.sent if group == f"chat:{channel}"] == list(range(channel, 200, 20))
    assert 1 < layer.most_at_once <= LANES


async def test_sender_counts_no_attempt_in_an_outage() -> None:
    """What was not sent is given back; each message is in exactly one list."""
    layer = MemoryLayer(sends=7)
    messages = [claimed(f"chat:{number % 5}", str(number)) for number in range(50)]
    outcome = await Sender(layer, RetryPolicy(5, 1)).send(messages, FAR)
    assert outcome.is_outage
    assert outcome.failed == []
    assert len(outcome.sent) == 7
    assert sorted([*outcome.sent, *outcome.released]) == sorted(message.id for message in messages)


@pytest.mark.parametrize("data", ["{", "NaN", "", '"\\ud800"', "99999999999999999999"])
async def test_sender_fails_a_bad_row_and_holds_its_channel(data: str) -> None:
    """What is behind it is given back; other channels go on."""
    bad, behind, beside = claimed("chat:a", data), claimed("chat:a", "1"), claimed("chat:b", "2")
    outcome = await Sender(MemoryLayer(), RetryPolicy(5, 1)).send([bad, behind, beside], FAR)
    assert [failure.id for failure in outcome.failed] == [bad.id]
    assert outcome.failed[0].retry_in_s is not None
    assert (outcome.released, outcome.sent, outcome.is_outage) == ([behind.id], [beside.id], False)


async def test_sender_lets_a_row_die_with_its_last_attempt() -> None:
    """``retry_in_s`` None is the end."""
    outcome = await Sender(MemoryLayer(), RetryPolicy(3, 1)).send([claimed("chat:a", "{", 1)], FAR)
    assert outcome.failed[0].retry_in_s is not None
    outcome = await Sender(MemoryLayer(), RetryPolicy(3, 1)).send([claimed("chat:a", "{", 2)], FAR)
    assert outcome.failed[0].retry_in_s is None


async def test_sender_says_no_payload_in_an_error() -> None:
    """An unknown error is named by its class alone: its text may quote data."""

    class Broken(MemoryLayer):
        async def publication_send(self, _channel: str, message: Message, **_options: str) -> object:
            raise LookupError(f"secret {message['data']}")

    outcome = await Sender(Broken(), RetryPolicy(3, 1)).send([claimed("chat:a", '"payload"')], FAR)
    assert outcome.failed[0].error == "LookupError"


async def test_sender_stops_with_the_lease() -> None:
    """After it the rows may be another's: they are given back unsent."""
    layer, message = MemoryLayer(), claimed("chat:a", "1")
    outcome = await Sender(layer, RetryPolicy(5, 1)).send([message], time.monotonic() - 1)
    assert (outcome.released, layer.sent) == ([message.id], [])


async def test_sender_sends_each_row_under_a_key() -> None:
    """The caller's own, else the row's id: a row that is sent again after a crash is known to Redis."""
    layer, row = MemoryLayer(), claimed("chat:a", "1")
    keyed = ClaimedMessage(uuid7(), 1, "chat:b", "2", 0, '{"k":"v"}', "mine")
    await Sender(layer, RetryPolicy(5, 1)).send([row, keyed], FAR)
    assert sorted(layer.keys, key=str) == sorted(
        [(str(row.id), str(row.id), None), (str(keyed.id), "mine", {"k": "v"})], key=str
    )
