"""Which consumer a layer channel belongs to, so that the channel ends with it.

Channels cancels the ``receive`` of a consumer that has ended, and a layer takes that as the channel's end. But a
``receive`` that has just returned cannot be cancelled: of consumers that disconnect from a busy group, or raise in the
handler of a layer message, the stock pub/sub layer keeps the channel, its subscription and what arrives, for good.

Source: channels.utils.await_many_dispatch; ADR-0001.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any


class ChannelOwners:
    """The task that made each channel, and who receives from it.

    Args:
        give_up: called with a channel's name once its maker has ended and nobody receives from it. A channel that
            nobody ever received from before that is left alone: a helper task made it, for somebody else.
    """

    def __init__(self, give_up: Callable[[str], None]) -> None:
        self._give_up = give_up
        self._owned: dict[str, tuple[asyncio.Task[Any], Callable[[asyncio.Task[Any]], None]]] = {}
        self._receiving: dict[str, int] = {}

    def add(self, channel: str) -> None:
        """Note that the current task has made a channel."""
        owner = asyncio.current_task()
        if owner is not None:
            ended = partial(self._ended, channel)
            owner.add_done_callback(ended)
            self._owned[channel] = owner, ended

    @contextmanager
    def receiving(self, channel: str) -> Iterator[None]:
        """Note that somebody receives from a channel, for the length of a ``with`` block."""
        self._receiving[channel] = self._receiving.get(channel, 0) + 1
        try:
            yield
        finally:
            self._receiving[channel] -= 1

    def remove(self, channel: str) -> None:
        """Forget a channel that has been given up."""
        self._receiving.pop(channel, None)
        if owned := self._owned.pop(channel, None):
            owner, ended = owned
            owner.remove_done_callback(ended)

    def _ended(self, channel: str, _owner: asyncio.Task[Any]) -> None:
        del self._owned[channel]
        if self._receiving.get(channel) == 0:
            del self._receiving[channel]
            self._give_up(channel)
