"""One gateway process: what its endpoints share, and its life from start to stop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, cast

import structlog
from channels.layers import get_channel_layer

from clarion import __version__
from clarion.ids import uuid7
from clarion.layers import ClarionChannelLayer
from clarion.loop_lag import LoopLag
from clarion.rpc import methods_load
from clarion.streams import Streams
from clarion.tokens import TokenVerifier
from ws_gateway.clients import Clients
from ws_gateway.control import Control
from ws_gateway.endpoints.joining import Joins
from ws_gateway.env import GatewayEnv
from ws_gateway.hub import Hub
from ws_gateway.presence import Presence
from ws_gateway.protocol.session import Rules

log = structlog.stdlib.get_logger("ws_gateway")


class Gateway:
    """What the endpoints share: the hub, the channel layer, the streams, presence, clients, and the configuration."""

    def __init__(self, env: GatewayEnv) -> None:
        self.node = env.node
        self.config = env.clarion_config
        self.join_timeout_s = env.join_timeout_s
        self.origins = frozenset(origin.lower() for origin in (*env.origins, *self.config.client.allowed_origins))
        self.layer = cast("ClarionChannelLayer", get_channel_layer())
        decode = self.layer.deserialize
        self.streams = Streams(
            env.redis_urls,
            config=self.config,
            decode=decode,
            prefix=env.layer_prefix,
            timeout_s=env.redis_timeout_s,
        )
        self.hub = Hub(
            env.redis_urls,
            prefix=env.layer_prefix,
            decode=decode,
            streams=self.streams,
            config=self.config,
            timeout_s=env.redis_timeout_s,
        )
        self.presence = Presence(
            env.redis_urls,
            node=env.node,
            prefix=env.layer_prefix,
            timeout_s=env.redis_timeout_s,
            layer=self.layer,
            facts=self._facts,
        )
        self.clients = Clients()
        self.joins = Joins(self)
        self.control = Control(self, env.layer_prefix)
        self.methods = methods_load(env.rpc_modules)
        self.rules = Rules(
            self.config,
            TokenVerifier(self.config, env.hmac_secret, env.hmac_secrets_accepted),
            node=env.node,
            version=f"clarion {__version__}",
            methods=self.methods,
            wall=time.time,
            connections_of=self.clients.count_of,
        )
        self.now = time.monotonic
        self.loop_lag = LoopLag()
        self.is_draining = False
        """Whether it is about to leave: no longer ready, and clients are sent elsewhere."""
        self._started_at = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()

    def new_id(self) -> str:
        """An id for a connection: unique, ordered by time, no secret."""
        return str(uuid7())

    def drain_begin(self) -> None:
        """The server begins to drain."""
        self.is_draining = True
        log.info("gateway.draining", node=self.node)

    def _facts(self) -> dict[str, str | int]:
        """What other services may know of this node."""
        channels = self.hub.channels()
        return {
            "name": self.node,
            "version": __version__,
            "num_clients": self.clients.count,
            "num_subs": sum(channels.values()),
            "num_users": self.clients.users,
            "num_channels": len(channels),
            "uptime": int(time.monotonic() - self._started_at),
        }

    async def lifespan(self, _scope: dict[str, Any], receive: Any, send: Any) -> None:
        """ASGI's lifespan: listen to Redis from the server's start to its end."""
        await receive()  # lifespan.startup
        self.loop_lag.start()
        self.hub.start()
        self.control.start()
        self.presence.start()
        for warning in self.config.warnings():
            log.warning("option.ignored", option=warning)
        log.info("gateway.started", node=self.node)
        await send({"type": "lifespan.startup.complete"})
        await receive()  # lifespan.shutdown
        await self._finish_tasks()
        await self.presence.stop()
        self.loop_lag.stop()
        await self.hub.stop()
        await self.streams.close()
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
