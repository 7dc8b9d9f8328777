"""A client of the client protocol that comes back: small, raw, and exact about what it was told.

It keeps a log of each channel and holds it against the protocol's promise as it comes: offsets grow by one, and where
they do not, ``recovered: false`` has said so before.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from centrifuge.fossil import apply_delta  # type: ignore[import-untyped]
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

ANSWER_S = 15.0
Frame = dict[str, Any]


class Log:
    """What one client was told of one channel.

    Attributes:
        epoch, offset: where it stands; "" before its first subscribe.
        taken: epoch, offset and data of all publications.
        resets: how often it was told to reload.
        faults: what broke the promise.
    """

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.epoch = ""
        self.offset = 0
        self.taken: list[tuple[str, int, Any]] = []
        self.resets = 0
        self.faults: list[str] = []
        self._before = b""

    @property
    def place(self) -> Frame:
        """What a subscribe request says of the place, if there is one."""
        return {"recover": True, "epoch": self.epoch, "offset": self.offset} if self.epoch else {}

    def subscribed(self, result: Frame) -> None:
        """Take a subscribe result."""
        epoch, offset = result.get("epoch", ""), result.get("offset", 0)
        if not self.epoch:
            self.epoch, self.offset = epoch, offset
        elif not result.get("was_recovering"):
            self._fault(f"a recovery was not answered: {result}")
        elif not result.get("recovered"):
            self.resets += 1
            self.epoch, self.offset = epoch, offset
        for publication in result.get("publications", ()):
            self.published(publication, is_text=result.get("delta", False))
        if (self.epoch, self.offset) != (epoch, offset):
            self._fault(f"stands at {self.offset} of {self.epoch}, told {offset} of {epoch}")

    def published(self, publication: Frame, *, is_text: bool) -> None:
        """Take a publication; with delta its data is text, or what changed in it."""
        offset, data = publication.get("offset", 0), publication["data"]
        if is_text:
            text = data.encode()
            self._before = apply_delta(self._before, text) if publication.get("delta") else text
            data = json.loads(self._before)
        if offset != self.offset + 1:
            self._fault(f"{offset} behind {self.offset}")
        self.offset = offset
        self.taken.append((self.epoch, offset, data))

    def _fault(self, what: str) -> None:
        self.faults.append(f"{self.channel} no. {len(self.taken)}: {what}")


class RecoveringClient:
    """One client, which connects again until it is stopped.

    Args:
        url: of nginx or a gateway, ``http://…``.
        channels: that it subscribes to.
        listed: those that its token subscribes it to.
    """

    def __init__(
        self, url: str, token: str, channels: Sequence[str], *, listed: Sequence[str] = (), delta: bool = False
    ) -> None:
        self._url = f"ws{url.removeprefix('http')}/connection/websocket"
        self._token = token
        self._channels = channels
        self._delta = {"delta": "fossil"} if delta else {}
        self._texts: set[str] = set()
        self._subscribed: set[str] = set()
        self._asked: dict[int, str] = {}
        self._listed = set(listed)
        self._is_connected = False
        self._id = 0
        self._socket: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self.logs = {channel: Log(channel) for channel in (*channels, *listed)}
        self.connects = 0

    # What a test does

    def start(self) -> None:
        """Connect, and go on doing so."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Disconnect."""
        assert self._task
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def drop(self) -> None:
        """Lose the network, as by a cable: nothing is said."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def leave(self, channel: str) -> None:
        """Unsubscribe and, once that is answered, subscribe again."""
        if self._socket is not None and channel in self._subscribed:
            self._subscribed.discard(channel)
            with suppress(WebSocketException):  # it comes back by itself, and subscribes
                await self._send(f"unsubscribe {channel}", unsubscribe={"channel": channel})

    def is_at(self, tops: dict[str, tuple[str, int]]) -> bool:
        """Whether it stands at these epochs and offsets."""
        return all((self.logs[name].epoch, self.logs[name].offset) == top for name, top in tops.items())

    # The protocol

    async def _run(self) -> None:
        while True:
            try:
                async with connect(self._url, open_timeout=ANSWER_S, max_size=None, proxy=None) as socket:
                    self._socket = socket
                    await self._session(socket)
            except (OSError, WebSocketException, TimeoutError):
                pass
            finally:
                self._socket = None
                self._is_connected = False
                self._subscribed.clear()
                self._asked.clear()
            await asyncio.sleep(random.uniform(0.02, 0.2))

    async def _session(self, socket: ClientConnection) -> None:
        places = {name: self.logs[name].place for name in self._listed if self.logs[name].epoch}
        await self._send("connect", connect={"token": self._token, "subs": places})
        async with asyncio.timeout(ANSWER_S) as deadline:
            async for frame in socket:
                for line in str(frame).split("\n"):
                    await self._take(json.loads(line))
                if self._is_connected:
                    deadline.reschedule(None)

    async def _send(self, what: str, **command: Any) -> None:
        self._id += 1
        self._asked[self._id] = what
        assert self._socket
        await self._socket.send(json.dumps({"id": self._id, **command}))

    async def _subscribe(self, channel: str) -> None:
        request = {"channel": channel, **self._delta, **self.logs[channel].place}
        await self._send(f"subscribe {channel}", subscribe=request)

    async def _take(self, said: Frame) -> None:
        if "push" in said:
            await self._take_push(said["push"])
        elif "id" in said:
            what, _, channel = self._asked.pop(said["id"]).partition(" ")
            await self._take_reply(what, channel, said)
        else:
            assert self._socket
            await self._socket.send("{}")

    async def _take_reply(self, what: str, channel: str, said: Frame) -> None:
        if "error" in said:
            assert said["error"].get("temporary"), f"{what} {channel}: {said}"
            await asyncio.sleep(0.05)
            await self._subscribe(channel)
        elif what == "connect":
            self.connects += 1
            self._is_connected = True
            for name, result in said["connect"].get("subs", {}).items():
                if name in self._listed:
                    self.logs[name].subscribed(result)
                    self._subscribed.add(name)
            for name in self._channels:
                await self._subscribe(name)
        elif what == "subscribe":
            (self._texts.add if said["subscribe"].get("delta") else self._texts.discard)(channel)
            self.logs[channel].subscribed(said["subscribe"])
            self._subscribed.add(channel)
        elif what == "unsubscribe":
            await self._subscribe(channel)

    async def _take_push(self, push: Frame) -> None:
        channel = push.get("channel", "")
        if "pub" in push and channel in self.logs:
            if channel in self._subscribed:
                self.logs[channel].published(push["pub"], is_text=channel in self._texts)
            elif "unsubscribe" not in {what.split(" ")[0] for what in self._asked.values()}:
                self.logs[channel].faults.append(f"{channel}: a publication while not subscribed: {push}")
        elif "unsubscribe" in push:
            assert push["unsubscribe"]["code"] >= 2500, push
            self._subscribed.discard(channel)
            await self._subscribe(channel)
