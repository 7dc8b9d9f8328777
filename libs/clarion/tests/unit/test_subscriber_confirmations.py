"""clarion.subscriber: which confirmation of Redis says that a subscription stands."""

from __future__ import annotations

import asyncio
from typing import Any

from clarion.subscriber import _Shard


class Wire:
    """Keeps the commands that would go to Redis."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, ...]] = []

    def send(self, *command: bytes) -> None:
        self.sent.append(command)


def shard_on(wire: Any) -> _Shard:
    shard = _Shard("redis://127.0.0.1:1", lambda _messages: None, lambda: None, lambda: None, 1.0)
    shard._burst = wire
    return shard


async def test_only_the_last_confirmation_counts() -> None:
    """Taken, given back and taken again: the first confirmation comes before the UNSUBSCRIBE's turn."""
    wire = Wire()
    shard = shard_on(wire)
    shard.subscribe(b"a")
    await asyncio.sleep(0)
    shard.unsubscribe(b"a")
    wanted = shard.subscribe(b"a")
    await asyncio.sleep(0)
    assert wire.sent == [(b"SUBSCRIBE", b"a"), (b"UNSUBSCRIBE", b"a"), (b"SUBSCRIBE", b"a")]
    shard._confirmed(b"a")
    assert not wanted.done()
    shard._confirmed(b"a")
    assert wanted.done()


async def test_names_of_one_turn_go_in_one_command() -> None:
    """A storm of joins is few commands; a name given back before it was sent is none."""
    wire = Wire()
    shard = shard_on(wire)
    for name in (b"a", b"b", b"c"):
        shard.subscribe(name)
    shard.unsubscribe(b"b")
    await asyncio.sleep(0)
    assert wire.sent == [(b"SUBSCRIBE", b"a", b"c")]


async def test_who_waits_for_the_same_name_waits_for_the_same_confirmation() -> None:
    """A second member's join sends nothing."""
    wire = Wire()
    shard = shard_on(wire)
    assert shard.subscribe(b"a") is shard.subscribe(b"a")
    await asyncio.sleep(0)
    assert wire.sent == [(b"SUBSCRIBE", b"a")]
