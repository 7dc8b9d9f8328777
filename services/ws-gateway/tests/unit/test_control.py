"""ws_gateway.control: what a gateway tells of its channels, part by part."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

from clarion.errors import ChannelLayerUnavailable
from clarion.orders import ChannelsAnswer, ChannelsQuestion, Disconnect, answer_decode, message_encode
from ws_gateway.control import ANSWER_CHANNELS, Control


class Listener:
    """In a gateway's place: has channels, and keeps what it is told to publish."""

    def __init__(self, channels: dict[str, int], *, is_redis_away: bool = False) -> None:
        self.hub = SimpleNamespace(channels=lambda: channels)
        self.presence = SimpleNamespace(uid="uid")
        self.layer = self
        self.answers: list[ChannelsAnswer] = []
        self.names: set[str] = set()
        self.task: asyncio.Task[None] | None = None
        self._is_redis_away = is_redis_away

    def start_task(self, work: Coroutine[Any, Any, None]) -> None:
        """As a gateway does."""
        self.task = asyncio.get_running_loop().create_task(work)

    async def publish_raw(self, name: str, payload: bytes) -> int:
        """As a channel layer does."""
        if self._is_redis_away:
            raise ChannelLayerUnavailable
        self.names.add(name)
        self.answers.append(answer_decode(payload))
        return 1


async def ask(gateway: Listener, pattern: str) -> list[ChannelsAnswer]:
    """Let it be asked, and return its answers."""
    Control(gateway, "asgi").received(message_encode(ChannelsQuestion("q1", pattern)))  # type: ignore[arg-type]
    assert gateway.task is not None
    await gateway.task
    return gateway.answers


async def test_channels_are_told_in_parts() -> None:
    """None holds more than its share, the last one alone says so, and together they are all."""
    channels = {f"chat:{number}": number + 1 for number in range(2 * ANSWER_CHANNELS + 1)}
    gateway = Listener(channels)
    answers = await ask(gateway, "")
    assert gateway.names == {"asgi__reply__q1"}
    assert [len(answer.channels) for answer in answers] == [ANSWER_CHANNELS, ANSWER_CHANNELS, 1]
    assert [answer.is_last for answer in answers] == [False, False, True]
    assert {channel: size for answer in answers for channel, size in answer.channels.items()} == channels
    assert {answer.node for answer in answers} == {"uid"}


async def test_channels_that_nobody_asked_for_are_not_told() -> None:
    """A part in which nothing fits is left out; the last one is sent, empty or not."""
    channels = {f"chat:{number}": 1 for number in range(3 * ANSWER_CHANNELS)}
    one_wanted = await ask(Listener(channels), f"chat:{ANSWER_CHANNELS}")
    assert [answer.channels for answer in one_wanted] == [{f"chat:{ANSWER_CHANNELS}": 1}, {}]
    assert await ask(Listener({}), "") == [ChannelsAnswer("uid", {}, is_last=True)]


async def test_a_defect_in_one_order_keeps_no_other_from_being_heard() -> None:
    """Whatever is raised ends with the order that raised it."""
    gateway = Listener({"chat:x": 1})  # it has no clients, not even none
    control = Control(gateway, "asgi")  # type: ignore[arg-type]
    control.received(message_encode(Disconnect(user="7", code=3503, reason="")))
    control.received(message_encode(ChannelsQuestion("q1")))
    assert gateway.task is not None
    await gateway.task
    assert gateway.answers == [ChannelsAnswer("uid", {"chat:x": 1}, is_last=True)]


async def test_channels_without_redis_are_left_untold() -> None:
    """Whoever asks hears nothing and has a deadline: the gateway goes on."""
    assert await ask(Listener({"chat:x": 1}, is_redis_away=True), "") == []


async def test_the_loop_turns_between_parts() -> None:
    """A long list does not hold up deliveries: other work gets its turn between two parts."""
    gateway = Listener({f"chat:{number}": 1 for number in range(5 * ANSWER_CHANNELS)})
    seen: list[int] = []

    async def others() -> None:
        while not gateway.answers or not gateway.answers[-1].is_last:
            seen.append(len(gateway.answers))
            await asyncio.sleep(0)

    work = asyncio.create_task(others())
    await ask(gateway, "")
    await work
    assert len(set(seen)) >= 4
