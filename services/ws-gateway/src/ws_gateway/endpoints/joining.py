"""Joins that wait for nothing but the channel: no task for them, however many clients come at once.

A gateway that was restarted is asked for its channels by everybody. With a task for each join that took 2 KiB and 60 µs
more, and the loop came back later than a join may wait.

Source: ADR-0007.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from clarion.errors import ChannelLayerUnavailable, ClarionError
from ws_gateway.hub import PATIENCE, WAIT_STEPS
from ws_gateway.protocol.effects import Join

if TYPE_CHECKING:
    from ws_gateway.endpoints.client import Client
    from ws_gateway.gateway import Gateway
    from ws_gateway.hub import Hold

log = structlog.stdlib.get_logger("ws_gateway.joining")

TURN_JOINS: Final = 128
"""Joins that are answered before the event loop turns: about 3 ms."""


class _Waiting:
    """Those who wait for one channel."""

    __slots__ = ("clients", "hold", "is_answering", "left", "steps")

    def __init__(self) -> None:
        self.clients: list[tuple[Client, Join]] = []
        self.hold: Hold | None = None
        self.is_answering = False
        self.left = WAIT_STEPS
        self.steps = 0


class Joins:
    """Clients that wait for a channel which the process is about to have."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._waiting: dict[str, _Waiting] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._seen = 0

    def add(self, client: Client, effect: Join) -> None:
        """Join as soon as the channel is ready, or fail when it is not in time."""
        channel = effect.channel
        waiting = self._waiting.get(channel)
        if waiting is not None:
            waiting.clients.append((client, effect))
            return
        waiting = self._waiting[channel] = _Waiting()
        waiting.clients.append((client, effect))
        hold = self._gateway.hub.when_ready(channel, partial(self._ready, channel))
        if self._waiting.get(channel) is waiting:
            waiting.hold = hold
            self._watch()
        else:  # it was ready, and all are answered
            hold.release()

    def _ready(self, channel: str) -> None:
        waiting = self._waiting[channel]
        if not waiting.is_answering:
            self._answer(channel, waiting, None)

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._gateway.join_timeout_s / WAIT_STEPS, self._look)

    def _look(self) -> None:
        """Take a step of everybody's deadline, as :meth:`ws_gateway.hub.Hub.holding` does."""
        self._timer = None
        progress = self._gateway.hub.progress
        is_stuck, self._seen = progress == self._seen, progress
        for channel, waiting in list(self._waiting.items()):
            is_over = waiting.left <= 0 or waiting.steps >= WAIT_STEPS * PATIENCE
            waiting.left -= is_stuck
            waiting.steps += 1
            if is_over and not waiting.is_answering:
                self._answer(channel, waiting, ChannelLayerUnavailable())
        if self._waiting:
            self._watch()

    def _answer(self, channel: str, waiting: _Waiting, failure: ClarionError | None) -> None:
        """Answer some, and the others, also who comes meanwhile, in the next turns."""
        waiting.is_answering = True
        some, waiting.clients[:TURN_JOINS] = waiting.clients[:TURN_JOINS], []
        for client, effect in some:
            self._join(client, effect, failure)
        if waiting.clients:
            asyncio.get_running_loop().call_soon(self._answer, channel, waiting, failure)
            return
        del self._waiting[channel]
        if waiting.hold is not None:
            waiting.hold.release()

    def _join(self, client: Client, effect: Join, failure: ClarionError | None) -> None:
        try:
            if failure is not None:
                client.session.join_failed(effect, failure, self._gateway.now())
            elif not client.is_gone:
                client.joined(effect, None)
        except Exception:
            log.exception("subscribe.failed", channel=effect.channel)
            client.session.join_failed(effect, ClarionError(), self._gateway.now())
        client.run()
