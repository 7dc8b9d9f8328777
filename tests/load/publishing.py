"""Publications as any service sends them: what it costs to publish is no server's.

Most go straight to Redis: to a channel without history the stock layer's bytes, the same for all servers; to one with
history the script's arguments; to Socket.IO what an emitter of its own sends. The stock core layer's ``group_send`` is
more than one command, so it is called; nchan takes HTTP requests, on one kept connection, each sent without waiting
for the answer to the one before.
"""

from __future__ import annotations

import asyncio
import math
import socket
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgpack
from channels_redis.core import RedisChannelLayer  # type: ignore[import-untyped]

from clarion.namespaces import ClarionConfig
from clarion.publications import publication
from clarion.redis_commands import RedisCommands
from tests.load.generator.clients import NUMBER, TIME

Door: TypeAlias = Literal["redis", "socketio", "core", "nchan"]
"""By which way publications reach a server."""

PREFIX: Final = "asgi"
SOCKETIO_ALL: Final = ""
"""The channel of all clients of Socket.IO's default namespace."""

PAYLOAD_BYTES: Final = 142
"""Of the JSON that a client gets from a server that encodes compactly."""

_BLOCK: Final = 500  # publications that are under way at a time
_FIRST: Final = 100_000  # so that every number, and with it every frame, has the same length
_PADDING: Final = "x" * (PAYLOAD_BYTES - len(f'{{"n":{_FIRST},"t":"{0:019d}","p":""}}'))


class Sent(NamedTuple):
    """What was published, and ``time.monotonic_ns`` from before."""

    publications: int
    start_ns: int


Ready: TypeAlias = list[tuple[int, Any]]
"""Publications that are made, in blocks: how many, and what a publisher sends of them."""


class Publisher(ABC):
    """Publishes publications that are numbered by channel, and timed."""

    def __init__(self) -> None:
        self._numbers: defaultdict[str, int] = defaultdict(lambda: _FIRST)

    def publish_to(self, channels: Sequence[str]) -> Sent:
        """Publish one publication to each channel; see :meth:`send`."""
        return self.send(self.make(channels))

    @abstractmethod
    def make(self, channels: Sequence[str]) -> Ready:
        """Make one publication for each channel: before the clock runs, so that it costs the load's core nothing."""

    @abstractmethod
    def send(self, ready: Ready, deadline_s: float = math.inf) -> Sent:
        """Publish what was made, as fast as it is taken.

        Args:
            deadline_s: what has not been sent by then is not sent any more.

        Raises:
            ConnectionError: one was not taken.
        """

    def post(self, channel: str) -> None:
        """Publish one publication now, and do not wait until it was taken; :meth:`settle` does."""
        self.publish_to([channel])

    @abstractmethod
    def settle(self) -> None:
        """Wait until all that was posted was taken."""

    @abstractmethod
    def close(self) -> None:
        """Close what was opened."""

    def data(self, channel: str) -> dict[str, Any]:
        """The next publication's data."""
        number = self._numbers[channel]
        self._numbers[channel] = number + 1
        return {NUMBER: number, TIME: f"{time.monotonic_ns():019d}", "p": _PADDING}


class _ConnectionPublisher(Publisher):
    """One TCP connection."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")
        self._posted = 0

    def make(self, channels: Sequence[str]) -> Ready:
        """See :class:`Publisher`."""
        blocks = [channels[start : start + _BLOCK] for start in range(0, len(channels), _BLOCK)]
        return [(len(block), b"".join(map(self._command, block))) for block in blocks]

    def send(self, ready: Ready, deadline_s: float = math.inf) -> Sent:
        """See :class:`Publisher`."""
        self.settle()
        sent, start_ns = 0, time.monotonic_ns()
        for count, commands in ready:
            self._socket.sendall(commands)
            self._read(count)
            sent += count
            if (time.monotonic_ns() - start_ns) / 1e9 > deadline_s:
                break
        return Sent(sent, start_ns)

    def post(self, channel: str) -> None:
        """See :class:`Publisher`."""
        self._socket.sendall(self._command(channel))
        self._posted += 1

    def settle(self) -> None:
        """See :class:`Publisher`."""
        self._read(self._posted)
        self._posted = 0

    def close(self) -> None:
        """Close the connection."""
        self._answers.close()
        self._socket.close()

    def _read(self, count: int) -> None:
        for _ in range(count):
            self._read_answer()

    @abstractmethod
    def _command(self, channel: str) -> bytes:
        """The bytes of one publication."""

    @abstractmethod
    def _read_answer(self) -> None:
        """Read the answer to one publication."""


class RedisPublisher(_ConnectionPublisher):
    """Publishes to Redis.

    Args:
        config: which channels have a history.
    """

    def __init__(self, port: int, config: ClarionConfig) -> None:
        super().__init__(port)
        self._commands = RedisCommands(prefix=PREFIX, shards=1, config=config)
        self._has_script = False  # Redis has been given it

    def _command(self, channel: str) -> bytes:
        command = self._commands.publish(channel, publication(self.data(channel)))
        words = command.short if self._has_script else command.full
        self._has_script = True
        return _packed(*words)

    def _read_answer(self) -> None:
        answer = self._answers.readline()
        if answer.startswith(b"$"):
            self._answers.readline()
        elif not answer.startswith(b":"):
            raise ConnectionError(f"Redis did not take a publication: {answer[:100]!r}")


class SocketioPublisher(RedisPublisher):
    """Publishes to Redis as an emitter of Socket.IO, to a room or to all."""

    def _command(self, channel: str) -> bytes:
        # What @socket.io/redis-emitter sends: its name, an event (type 2), and to whom.
        packet = {"type": 2, "data": ["message", self.data(channel)], "nsp": "/"}
        message = ["emitter", packet, {"rooms": [channel] if channel else [], "except": [], "flags": {}}]
        name = f"socket.io#/#{channel}#" if channel else "socket.io#/#"
        return _packed("PUBLISH", name, msgpack.packb(message))


class NchanPublisher(_ConnectionPublisher):
    """Publishes to nchan by HTTP."""

    def _command(self, channel: str) -> bytes:
        data = self.data(channel)
        body = f'{{"n":{data[NUMBER]},"t":"{data[TIME]}","p":"{data["p"]}"}}'.encode()
        head = f"POST /pub/{channel} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def _read_answer(self) -> None:
        status, length = self._answers.readline(), 0
        if not status.startswith(b"HTTP/1.1 20"):
            raise ConnectionError(f"nchan did not take a publication: {status!r}")
        while (line := self._answers.readline().lower()) != b"\r\n":
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        self._answers.read(length)


class CorePublisher(Publisher):
    """Calls ``group_send`` of the stock core layer, one after the other as a service does."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._layer = RedisChannelLayer([{"host": "127.0.0.1", "port": port, "socket_timeout": 15}], prefix=PREFIX)
        self._runner = asyncio.Runner()

    def make(self, channels: Sequence[str]) -> Ready:
        """See :class:`Publisher`; the layer makes each message when it is sent."""
        return [(1, channel) for channel in channels]

    def send(self, ready: Ready, deadline_s: float = math.inf) -> Sent:
        """See :class:`Publisher`."""
        return self._runner.run(self._send(ready, deadline_s))

    async def _send(self, ready: Ready, deadline_s: float) -> Sent:
        start_ns = time.monotonic_ns()
        for count, (_, channel) in enumerate(ready, 1):
            await self._layer.group_send(channel, publication(self.data(channel)))
            if (time.monotonic_ns() - start_ns) / 1e9 > deadline_s:
                return Sent(count, start_ns)
        return Sent(len(ready), start_ns)

    def settle(self) -> None:
        """See :class:`Publisher`; it never goes on before."""

    def close(self) -> None:
        """Close its connections."""
        self._runner.run(self._layer.close_pools())
        self._runner.close()


def publisher_open(door: Door, redis_port: int, server_port: int, config: ClarionConfig) -> Publisher:
    """The publisher for a server."""
    if door == "nchan":
        return NchanPublisher(server_port)
    if door == "core":
        return CorePublisher(redis_port)
    return (SocketioPublisher if door == "socketio" else RedisPublisher)(redis_port, config)


def _packed(*words: Any) -> bytes:
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
