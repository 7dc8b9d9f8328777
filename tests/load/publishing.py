"""Publications as any Django service sends them: the stock layer's bytes, straight to Redis.

All servers get the same bytes, and their publisher costs the same: next to nothing.
"""

from __future__ import annotations

import socket
import time
from typing import Final

from channels_redis.serializers import registry  # type: ignore[import-untyped]

from clarion.names import redis_group
from clarion.publications import publication
from tests.load.generator.clients import NUMBER, TIME

PREFIX: Final = "asgi"
_FIRST: Final = 100_000  # so that every number, and with it every frame, has the same length
_serializer = registry.get_serializer("msgpack")


class Publisher:
    """One connection to Redis that publishes numbered, timed publications to one channel.

    Args:
        payload_bytes: size of the JSON that a client gets from a server that encodes compactly.
    """

    def __init__(self, port: int, channel: str, payload_bytes: int = 142) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")
        self._name = redis_group(PREFIX, channel).encode()
        self._number = _FIRST
        self._padding = "x" * (payload_bytes - len(f'{{"n":{_FIRST},"t":"{0:019d}","p":""}}'))

    def publish(self, count: int = 1) -> int:
        """Publish ``count`` publications in one write; return ``time.monotonic_ns`` from before.

        Raises:
            ConnectionError: Redis closed the connection.
        """
        commands = b"".join(self._command() for _ in range(count))
        start = time.monotonic_ns()
        self._socket.sendall(commands)
        for _ in range(count):
            if not self._answers.readline().startswith(b":"):
                raise ConnectionError("Redis did not take a publication")
        return start

    def close(self) -> None:
        """Close the connection."""
        self._answers.close()
        self._socket.close()

    def _command(self) -> bytes:
        data = {NUMBER: self._number, TIME: f"{time.monotonic_ns():019d}", "p": self._padding}
        self._number += 1
        parts = (b"PUBLISH", self._name, _serializer.serialize(publication(data)))
        return b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
