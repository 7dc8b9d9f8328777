"""Looks after gateways that died: removes their entries and tells their leaves.

Every gateway looks, so that the last one that lives is enough. The work is done in steps of Redis, each whole, so
several share it, and one that dies amid it leaves nothing half done.

Source: ADR-0008.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Final

import structlog
from redis.asyncio import Redis

from clarion.connections import REDIS_ERRORS
from clarion.names import redis_group, redis_node, redis_node_entries, redis_nodes, redis_presence
from clarion.presence import DEAD_S
from clarion.presence_scripts import REAP
from clarion.read_lanes import command_send
from clarion.redis_commands import Command
from ws_gateway.presence.shard import BATCH_CHANGES, LATE_S

log = structlog.stdlib.get_logger("ws_gateway.presence")

GRACE_S: Final = 4.0
"""How long a gateway must have beaten without a gap before it judges others: when Redis was away, all look dead, and
all come back within this time."""

LOOK_S: Final = 0.75
"""How often, on average, a gateway looks. With ``DEAD_S`` this keeps the promise of 10 s."""


class Reaper:
    """Reaps dead gateways on one Redis.

    Args:
        uid: of this process.
        prefix: the channel layer's prefix.
    """

    def __init__(self, client: Redis, *, uid: str, prefix: str) -> None:
        self._client = client
        times_ms = [round(1000 * seconds) for seconds in (DEAD_S, LATE_S, GRACE_S)]
        prefixes = (redis_presence(prefix, ""), redis_group(prefix, ""))
        node_prefixes = (redis_node(prefix, ""), redis_node_entries(prefix, ""))
        words = (1, redis_nodes(prefix), uid, *times_ms, BATCH_CHANGES, *prefixes, *node_prefixes)
        self._command = Command(0, REAP, words)
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._look())

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._is_stopping = True
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self) -> None:
        # Python 3.11's wait_for, with which redis-py sends, may swallow the cancellation of stop().
        while not self._is_stopping:
            await asyncio.sleep(LOOK_S * random.uniform(0.67, 1.33))  # noqa: S311 - not all at once
            try:
                # While Redis is away there is nothing to do; who writes to it says so in the log.
                with suppress(*REDIS_ERRORS):
                    await self._reap()
            except Exception:
                log.exception("presence.reap_failed")

    async def _reap(self) -> None:
        reaped: dict[bytes, int] = {}
        try:
            while found := await command_send(self._client, self._command):
                node, entries = found
                reaped[node] = reaped.get(node, 0) + entries
        finally:
            for node, entries in reaped.items():
                log.warning("node.reaped", node=node.decode(), entries=entries)
