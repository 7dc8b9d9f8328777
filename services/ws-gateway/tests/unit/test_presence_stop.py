"""ws_gateway.presence: its tasks end, whatever redis-py makes of a cancellation."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from clarion.layers import ClarionChannelLayer
from clarion.namespaces import ClarionConfig
from ws_gateway.presence import reaper, shard
from ws_gateway.presence.changes import Entries


class SwallowingRedis:
    """Answers slowly, and swallows a cancellation as ``wait_for`` of Python 3.11 does when both come at once."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.asked = asyncio.Event()

    async def execute_command(self, *_words: Any) -> Any:
        self.asked.set()
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            return self._answer
        return self._answer

    async def aclose(self, close_connection_pool: bool) -> None:
        assert close_connection_pool


async def test_a_swallowed_cancellation_does_not_keep_the_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """stop() returns, though the task that writes never saw that it was cancelled."""
    monkeypatch.setattr(shard, "BEAT_S", 0.0)
    monkeypatch.setattr(shard, "STOP_S", 0.1)
    client = SwallowingRedis(b"")
    layer = ClarionChannelLayer(["redis://127.0.0.1:1"], config=ClarionConfig())
    made = shard.PresenceShard(
        cast("Redis", client), uid="u", prefix="p", entries=Entries("u", layer), facts=lambda: {"uid": "u"}
    )
    made.start()
    async with asyncio.timeout(20):
        await client.asked.wait()
        await made.stop()


async def test_a_swallowed_cancellation_does_not_keep_the_reaper(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of the task that looks after others."""
    monkeypatch.setattr(reaper, "LOOK_S", 0.0)
    client = SwallowingRedis([])
    made = reaper.Reaper(cast("Redis", client), uid="u", prefix="p")
    made.start()
    async with asyncio.timeout(20):
        await client.asked.wait()
        await made.stop()
