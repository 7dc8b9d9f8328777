"""Drives PyPI ``centrifuge-python`` by lines of JSON: see ../README.md."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from centrifuge import (
    CentrifugeError,
    Client,
    ClientEventHandler,
    ClientInfo,
    DeltaType,
    Publication,
    ReplyError,
    StreamPosition,
    Subscription,
    SubscriptionEventHandler,
)
from centrifuge.filter import FilterNode

Line = dict[str, Any]


def say(line: Line) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class ChannelEvents:
    """What is told of channels: of a subscription's own, or of server-side ones, whose contexts name them."""

    driven: Driven
    channel = ""

    def tell(self, event: str, ctx: Any, **more: Any) -> None:
        channel = self.channel or ctx.channel
        say({"client": self.driven.name, "event": event, "channel": channel, "server": not self.channel, **more})

    async def on_subscribing(self, ctx: Any) -> None:
        self.tell("subscribing", ctx, code=getattr(ctx, "code", None))

    async def on_subscribed(self, ctx: Any) -> None:
        position = ctx.stream_position
        self.tell(
            "subscribed",
            ctx,
            recoverable=ctx.recoverable,
            was_recovering=ctx.was_recovering,
            recovered=ctx.recovered,
            position=position and {"offset": position.offset, "epoch": position.epoch},
            data=self.driven.value(ctx.data),
        )

    async def on_unsubscribed(self, ctx: Any) -> None:
        self.tell("unsubscribed", ctx, code=getattr(ctx, "code", None))

    async def on_publication(self, ctx: Any) -> None:
        self.tell("publication", ctx, **self.driven.publication(ctx.pub))

    async def on_join(self, ctx: Any) -> None:
        self.tell("join", ctx, info=self.driven.info(ctx.info))

    async def on_leave(self, ctx: Any) -> None:
        self.tell("leave", ctx, info=self.driven.info(ctx.info))


class ConnectionEvents(ChannelEvents, ClientEventHandler):
    def __init__(self, driven: Driven) -> None:
        self.driven = driven

    async def on_connecting(self, ctx: Any) -> None:
        say({"client": self.driven.name, "event": "connecting", "code": ctx.code})

    async def on_connected(self, ctx: Any) -> None:
        say({"client": self.driven.name, "event": "connected", "id": ctx.client})

    async def on_disconnected(self, ctx: Any) -> None:
        say({"client": self.driven.name, "event": "disconnected", "code": ctx.code, "reason": ctx.reason})

    async def on_error(self, ctx: Any) -> None:
        say({"client": self.driven.name, "event": "error", **error_of(ctx.error)})


class OneChannelEvents(ChannelEvents, SubscriptionEventHandler):
    def __init__(self, driven: Driven, channel: str) -> None:
        self.driven = driven
        self.channel = channel

    async def on_error(self, ctx: Any) -> None:
        say({"client": self.driven.name, "event": "error", "channel": self.channel, **error_of(ctx.error)})


class Driven:
    """One client."""

    def __init__(self, line: Line) -> None:
        self.name = line["client"]
        self.is_protobuf = line["transport"] == "protobuf"
        self.client = Client(
            f"ws{line['url'].removeprefix('http')}/connection/websocket",
            events=ConnectionEvents(self),
            token=line.get("token") or "",
            get_token=self.tokens(line.get("tokens")),
            use_protobuf=self.is_protobuf,
            min_reconnect_delay=0.05,
            max_reconnect_delay=0.3,
            max_server_ping_delay=6,
            proxy=None,
        )

    # Protobuf carries bytes, which are JSON in this product.

    def bytes_of(self, data: Any) -> Any:
        return json.dumps(data).encode() if self.is_protobuf else data

    def value(self, data: Any) -> Any:
        return (json.loads(data) if data else None) if self.is_protobuf else data

    def info(self, info: ClientInfo | None) -> Line | None:
        return info and {
            "client": info.client,
            "user": info.user,
            "conn_info": self.value(info.conn_info),
            "chan_info": self.value(info.chan_info),
        }

    def publication(self, pub: Publication) -> Line:
        return {"data": self.value(pub.data), "offset": pub.offset, "tags": pub.tags, "info": self.info(pub.info)}

    def tokens(
        self, given: list[str | None] | None, channel: str | None = None
    ) -> Callable[..., Awaitable[str]] | None:
        """Give out tokens in turn, the last one again and again; None is a failure to get one."""
        left = list(given or ())

        async def get_token(*_channel: str) -> str:
            say({"client": self.name, "event": "token", "channel": channel})
            token = left.pop(0) if len(left) > 1 else left[0]
            if token is None:
                raise ConnectionError("no token now")
            return token

        return get_token if left else None

    def subscription(self, line: Line) -> Subscription:
        found = self.client.get_subscription(line["channel"])
        assert found is not None
        return found

    # What can be asked for

    async def connect(self, _line: Line) -> None:
        await self.client.connect()

    async def disconnect(self, _line: Line) -> None:
        await self.client.disconnect()

    async def subscribe(self, line: Line) -> None:
        channel = line["channel"]
        subscription = self.client.new_subscription(
            channel,
            events=OneChannelEvents(self, channel),
            get_token=self.tokens(line.get("tokens"), channel),
            min_resubscribe_delay=0.05,
            max_resubscribe_delay=0.3,
            positioned=line.get("positioned", False),
            recoverable=line.get("recoverable", False),
            join_leave=line.get("join_leave", False),
            delta=DeltaType.FOSSIL if line.get("delta") else None,
            tags_filter=FilterNode(line["filter"]) if line.get("filter") else None,
        )
        await subscription.subscribe()

    async def unsubscribe(self, line: Line) -> None:
        await self.subscription(line).unsubscribe()

    async def resubscribe(self, line: Line) -> None:
        await self.subscription(line).subscribe()

    async def publish(self, line: Line) -> None:
        await self.client.publish(line["channel"], self.bytes_of(line["data"]))

    async def rpc(self, line: Line) -> Any:
        return self.value((await self.client.rpc(line["method"], self.bytes_of(line["data"]))).data)

    async def presence(self, line: Line) -> Line:
        found = await self.client.presence(line["channel"])
        return {id: self.info(info) for id, info in found.clients.items()}

    async def presence_stats(self, line: Line) -> Line:
        found = await self.client.presence_stats(line["channel"])
        return {"num_clients": found.num_clients, "num_users": found.num_users}

    async def history(self, line: Line) -> Line:
        found = await self.client.history(
            line["channel"],
            limit=line["limit"],
            since=StreamPosition(**line["since"]) if line.get("since") else None,
            reverse=line.get("reverse", False),
        )
        publications = [self.publication(pub) for pub in found.publications]
        return {"publications": publications, "offset": found.offset, "epoch": found.epoch}


def error_of(exc: BaseException) -> Line:
    return {"code": exc.code if isinstance(exc, ReplyError) else -1, "message": str(exc) or repr(exc)}


clients: dict[str, Driven] = {}


async def act(line: Line) -> None:
    answer: Line = {"id": line["id"]}
    try:
        if line["do"] == "open":
            clients[line["client"]] = Driven(line)
        else:
            answer["result"] = await getattr(clients[line["client"]], line["do"])(line)
    except (CentrifugeError, TimeoutError) as exc:
        answer["error"] = error_of(exc)
    say(answer)


async def main() -> None:
    stdin = asyncio.StreamReader(limit=2**24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    async with asyncio.TaskGroup() as tasks:
        while text := await stdin.readline():
            tasks.create_task(act(json.loads(text)))
    for driven in clients.values():
        await driven.client.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
