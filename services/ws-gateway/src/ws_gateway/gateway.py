"""One gateway process: what its endpoints share, and its life from start to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

import structlog
from channels.layers import get_channel_layer

from clarion.layers import ClarionChannelLayer
from ws_gateway.env import GatewayEnv
from ws_gateway.hub import Hub

log = structlog.stdlib.get_logger("ws_gateway")


class Gateway:
    """The hub, the channel layer, and what the environment says."""

    def __init__(self, env: GatewayEnv) -> None:
        self.node = env.node
        self.config = env.clarion_config
        self.token_secret = env.token_secret.get_secret_value()
        self.join_timeout_s = env.join_timeout_s
        self.origins = frozenset(origin.lower() for origin in (env.public_url, *self.config.client.allowed_origins))
        self.layer = cast("ClarionChannelLayer", get_channel_layer())
        self.hub = Hub(
            env.redis_urls, prefix=env.layer_prefix, decode=self.layer.deserialize, timeout_s=env.redis_timeout_s
        )
        self._tasks: set[asyncio.Task[None]] = set()

    async def lifespan(self, _scope: dict[str, Any], receive: Any, send: Any) -> None:
        """ASGI's lifespan: listen to Redis from the server's start to its end."""
        await receive()  # lifespan.startup
        self.hub.start()
        log.info("gateway.started", node=self.node)
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        await self._finish_tasks()
        await self.hub.stop()
        await self.layer.flush()
        log.info("gateway.stopped", node=self.node)
        await send({"type": "lifespan.shutdown.complete"})

    def start_task(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background; the gateway keeps it, sees its exception, and waits for it at the end."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.error("task.failed", error=repr(exc), exc_info=exc)

    async def _finish_tasks(self) -> None:
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=2 * self.join_timeout_s)
            for task in late:
                task.cancel()
