"""Several gateways' presence in one process, and what the members of a channel are told."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from clarion.layers import ClarionChannelLayer
from clarion.namespaces import ClarionConfig
from ws_gateway.presence import Presence


class Heard:
    """What the members of a channel are told, as ``("join", "<client>")``."""

    def __init__(self, layer: ClarionChannelLayer, channel: str) -> None:
        self._layer = layer
        self._channel = channel
        self._task: asyncio.Task[None] | None = None
        self.events: list[tuple[str, str]] = []

    async def start(self) -> None:
        member = await self._layer.new_channel()
        await self._layer.group_add(self._channel, member)
        # The subscription is confirmed: what it is told of comes after this.
        await self._layer.group_send(self._channel, {"type": "test.begin", "info": {"client": ""}})
        assert (await self._layer.receive(member))["type"] == "test.begin"
        self._task = asyncio.get_running_loop().create_task(self._listen(member))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def of(self, client: str) -> list[str]:
        """What was told of one client, in order."""
        return [kind for kind, who in self.events if who == client]

    def told(self, kind: str) -> set[str]:
        """The clients of whom this was told."""
        return {who for told, who in self.events if told == kind}

    async def _listen(self, member: str) -> None:
        while True:
            message = await self._layer.receive(member)
            self.events.append((message["type"].removeprefix("clarion."), message["info"]["client"]))


class Cluster:
    """Gateways on one or more Redis."""

    def __init__(self, urls: list[str], prefix: str, *, timeout_s: float = 10.0) -> None:
        self.urls = urls
        self.prefix = prefix
        self.timeout_s = timeout_s
        self.layer = ClarionChannelLayer(
            urls, prefix=prefix, config=ClarionConfig(), timeout_s=timeout_s, capacity=100_000
        )
        self._nodes: list[Presence] = []
        self._heard: list[Heard] = []

    def node(self, name: str = "node") -> Presence:
        """Start a gateway's presence."""
        presence = Presence(
            self.urls,
            node=name,
            prefix=self.prefix,
            timeout_s=self.timeout_s,
            layer=self.layer,
            facts=lambda: {"version": "1", "num_clients": presence.num_entries},
        )
        presence.start()
        self._nodes.append(presence)
        return presence

    async def hear(self, channel: str) -> Heard:
        """Listen to a channel."""
        heard = Heard(self.layer, channel)
        self._heard.append(heard)
        await heard.start()
        return heard

    async def close(self) -> None:
        for heard in self._heard:
            await heard.stop()
        await asyncio.gather(*(node.stop() for node in self._nodes))
        await self.layer.flush()


def kill(node: Presence) -> None:
    """End it as SIGKILL does: no goodbye, no heartbeat."""
    for part in (*node._shards, *node._reapers):
        assert part._task is not None
        part._task.cancel()
        part._task = None


async def enter(
    node: Presence,
    channel: str,
    client: str,
    user: str = "7",
    *,
    is_kept: bool = True,
    is_told: bool = True,
    **info: Any,
) -> None:
    """Enter a client."""
    whole = {"user": user, "client": client, **info}
    await node.entered(channel, client, whole, is_kept=is_kept, is_told=is_told)


def leave(node: Presence, channel: str, client: str, user: str = "7", **how: bool) -> None:
    """Let a client leave."""
    flags = {"is_kept": True, "is_told": True, **how}
    node.left(channel, client, {"user": user, "client": client}, **flags)


class AnswerLoser:
    """A way to Redis on which an answer can get lost: what was asked has been done, and the connection is gone."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.marker = b""
        """The next question that holds it is passed on, and its answer is lost."""

    async def start(self) -> str:
        """Returns the URL."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        redis_in, redis_out = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            while asked := await client_in.read(1 << 20):
                redis_out.write(asked)
                answer = await redis_in.read(1 << 20)
                if self.marker and self.marker in asked:
                    self.marker = b""
                    return
                client_out.write(answer)
        finally:
            self._tasks.discard(task)
            client_out.close()
            redis_out.close()


async def _main(url: str, prefix: str, count: int) -> None:
    """A gateway of its own process: enters clients, says so, and waits to be killed."""
    cluster = Cluster([url], prefix)
    node = cluster.node("killed")
    await asyncio.gather(*(enter(node, "chat:x", f"killed-{number}", str(number % 10)) for number in range(count)))
    print("entered", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
