"""Joins that wait for nothing but the channel: one task a channel, however many clients come at once.

A gateway that was restarted is asked for the same channels by everybody. A task for each took 2 KiB and 60 µs; so many
of them held the loop for longer than a join may wait.

Source: ADR-0007.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from clarion.errors import ChannelLayerUnavailable, ClarionError
from ws_gateway.protocol.effects import Join

if TYPE_CHECKING:
    from ws_gateway.endpoints.client import Client
    from ws_gateway.gateway import Gateway

log = structlog.stdlib.get_logger("ws_gateway.joining")

TURN_JOINS: Final = 128
"""Joins that are answered before the event loop turns: about 3 ms."""


class Joins:
    """Clients that wait for a channel which the process is about to have."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._waiting: dict[str, list[tuple[Client, Join]]] = {}

    def add(self, client: Client, effect: Join) -> None:
        """Join as soon as the channel is ready, or fail when it is not in time."""
        waiting = self._waiting.get(effect.channel)
        if waiting is None:
            waiting = self._waiting[effect.channel] = []
            self._gateway.start_task(self._join_all(effect.channel, waiting))
        waiting.append((client, effect))

    async def _join_all(self, channel: str, waiting: list[tuple[Client, Join]]) -> None:
        try:
            async with self._gateway.hub.holding(channel, self._gateway.join_timeout_s) as is_ready:
                await self._answer(waiting, None if is_ready else ChannelLayerUnavailable())
        except Exception:
            log.exception("subscribe.failed", channel=channel)
            await self._answer(waiting, ClarionError())
        finally:
            del self._waiting[channel]

    async def _answer(self, waiting: list[tuple[Client, Join]], failure: ClarionError | None) -> None:
        while waiting:  # also who comes meanwhile
            some, waiting[:TURN_JOINS] = waiting[:TURN_JOINS], []
            for client, effect in some:
                self._join(client, effect, failure)
            await asyncio.sleep(0)

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
