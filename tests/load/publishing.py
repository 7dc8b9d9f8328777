"""Publications as any service sends them, straight to Redis: what it costs to publish is no server's.

To a channel without history they are the stock layer's bytes, the same for all servers; to one with history the
script's arguments. Socket.IO gets what an emitter of its own sends, to all clients of the default namespace.
"""

from __future__ import annotations

import socket
import time
from typing import Any, Final

import msgpack

from clarion.namespaces import ClarionConfig
from clarion.publications import publication
from clarion.redis_commands import RedisCommands
from tests.load.dialogues import Dialect
from tests.load.generator.clients import NUMBER, TIME

PREFIX: Final = "asgi"
SOCKETIO_ALL: Final = b"socket.io#/#"
"""The adapter's Redis channel of the default namespace."""

_FIRST: Final = 100_000  # so that every number, and with it every frame, has the same length


class Publisher:
    """One connection to Redis that publishes numbered, timed publications to one channel.

    Args:
        config: which channels have a history.
        payload_bytes: size of the JSON that a client gets from a server that encodes compactly.
        dialect: of the server that is to deliver them.
    """

    def __init__(
        self, port: int, channel: str, config: ClarionConfig, *, payload_bytes: int = 142, dialect: Dialect = "room"
    ) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")
        self._channel = channel
        self._is_socketio = dialect == "socketio"
        self._commands = RedisCommands(prefix=PREFIX, shards=1, config=config)
        self._has_script = False  # Redis has been given it
        self._number = _FIRST
        self._padding = "x" * (payload_bytes - len(f'{{"n":{_FIRST},"t":"{0:019d}","p":""}}'))

    def publish(self, count: int = 1) -> int:
        """Publish ``count`` publications in one write; return ``time.monotonic_ns`` from before.

        Raises:
            ConnectionError: Redis did not take one.
        """
        commands = b"".join(self._command() for _ in range(count))
        start = time.monotonic_ns()
        self._socket.sendall(commands)
        for _ in range(count):
            answer = self._answers.readline()
            if answer.startswith(b"$"):
                self._answers.readline()
            elif not answer.startswith(b":"):
                raise ConnectionError(f"Redis did not take a publication: {answer[:100]!r}")
        return start

    def close(self) -> None:
        """Close the connection."""
        self._answers.close()
        self._socket.close()

    def _command(self) -> bytes:
        data = {NUMBER: self._number, TIME: f"{time.monotonic_ns():019d}", "p": self._padding}
        self._number += 1
        if self._is_socketio:
            return _packed("PUBLISH", SOCKETIO_ALL, _socketio_packet(data))
        command = self._commands.publish(self._channel, publication(data))
        words = command.short if self._has_script else command.full
        self._has_script = True
        return _packed(*words)


def _packed(*words: Any) -> bytes:
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _socketio_packet(data: dict[str, Any]) -> bytes:
    """What @socket.io/redis-emitter sends: its name, an event (type 2), and to whom."""
    packet = {"type": 2, "data": ["message", data], "nsp": "/"}
    return msgpack.packb(["emitter", packet, {"rooms": [], "except": [], "flags": {}}])
