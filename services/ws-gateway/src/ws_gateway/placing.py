"""Finding where the streams of new channels stand: many in one round trip, in one task.

A gateway that was restarted gets thousands of channels at once, most of them with one member: personal channels.

Source: ADR-0006.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final

from clarion.errors import ChannelLayerUnavailable
from clarion.streams import Position, Streams
from ws_gateway.groups import Group

TURN_CHANNELS: Final = 256
"""Positions that are asked for in one round trip, and set in one turn of the event loop."""

_RETRY_FIRST_S: Final = 0.1
_RETRY_MOST_S: Final = 2.0


class Placer:
    """Reads the positions of groups that have none.

    Args:
        is_current: whether a group is still a channel of this process.
        start: runs a task for as long as the process lives.
        placed: called with each group that has its position now, or is gone.
    """

    def __init__(
        self,
        streams: Streams,
        *,
        is_current: Callable[[Group], bool],
        start: Callable[[Coroutine[Any, Any, None]], None],
        placed: Callable[[Group], None],
    ) -> None:
        self._streams = streams
        self._is_current = is_current
        self._start = start
        self._placed = placed
        self._waiting: list[Group] = []
        self._is_running = False

    def add(self, group: Group) -> None:
        """Read a group's position, however long Redis is away."""
        self._waiting.append(group)
        if not self._is_running:
            self._is_running = True
            self._start(self._place_all())

    async def _place_all(self) -> None:
        delay_s = _RETRY_FIRST_S
        try:
            while self._waiting:
                some, self._waiting[:TURN_CHANNELS] = self._waiting[:TURN_CHANNELS], []
                wanted = [group for group in some if self._is_wanted(group)]
                try:
                    tops = await self._streams.positions([group.channel for group in wanted])
                except ChannelLayerUnavailable:
                    self._waiting += some
                    await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                    delay_s = min(2 * delay_s, _RETRY_MOST_S)
                    continue
                delay_s = _RETRY_FIRST_S
                for group in some:
                    self._place(group, tops.get(group.channel))
        finally:
            self._is_running = False

    def _is_wanted(self, group: Group) -> bool:
        return self._is_current(group) and group.stream is not None and not group.stream.positioned.done()

    def _place(self, group: Group, top: Position | None) -> None:
        if top is not None and self._is_wanted(group):
            assert group.stream is not None
            group.stream.set_position(top.offset, top.epoch)
        self._placed(group)
