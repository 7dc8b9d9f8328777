"""A thousand clients of one room, some of which stop reading; what the others get, and when."""

from __future__ import annotations

import selectors
import socket
import threading
import time
import zlib
from typing import Any

from clarion.values import json_encode

from .conftest import GatewayProcess, token_for

MESSAGE_BYTES = 32_768
CHECKED_PART = 10  # of the readers: a checksum of everything that came, and when; of the others, their number
PING, PONG = b"\x89\x00", b"\x8a\x80\0\0\0\0"


def message(number: int) -> list[Any]:
    """One publication; all have the same length."""
    return [f"{number:06}", "x" * (MESSAGE_BYTES - 20)]


def frame(number: int) -> bytes:
    """The frame in which a plain room's member gets it."""
    payload = json_encode(message(number))
    return b"\x81\x7e" + len(payload).to_bytes(2) + payload


FRAME_BYTES = len(frame(0))


def join(gateway: GatewayProcess, channel: str, *, receive_buffer: int = 0) -> socket.socket:
    """Join a plain room, and return its socket behind the handshake."""
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(30)
    client.connect(("127.0.0.1", gateway.port))
    lines = [
        f"GET /ws/{channel}/?token={token_for('7')} HTTP/1.1",
        "Host: x",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    client.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    assert b" 101 " in head[:20], head
    return client


class Reader:
    """One client that reads all that comes; pings are answered.

    Attributes:
        messages: that came whole.
        checksum: of all of them, if it is wanted.
    """

    def __init__(self, client: socket.socket, *, is_checked: bool) -> None:
        self.client = client
        self.messages = 0
        self.checksum = 0
        self._is_checked = is_checked
        self._left = 0  # bytes of the frame that has begun
        self._is_ping = False

    def take(self, data: memoryview) -> int:
        """Take bytes from the socket; return how many messages they complete."""
        before = self.messages
        while data:
            if not self._left:
                self._is_ping = data[0] == PING[0]
                self._left = len(PING) if self._is_ping else FRAME_BYTES
            part, data = data[: self._left], data[self._left :]
            self._left -= len(part)
            if self._is_checked and not self._is_ping:
                self.checksum = zlib.crc32(part, self.checksum)
            if not self._left and self._is_ping:
                self.client.send(PONG)
            elif not self._left:
                self.messages += 1
        return self.messages - before


class Readers:
    """Clients that read all that comes, in a thread of their own.

    Attributes:
        latencies: seconds from a publish to the last byte of its message at one reader, a sample.
    """

    def __init__(self, gateway: GatewayProcess, channel: str, count: int) -> None:
        self.latencies: list[float] = []
        self._readers = [
            Reader(join(gateway, channel), is_checked=number % CHECKED_PART == 0) for number in range(count)
        ]
        self._sample = frozenset(self._readers[::CHECKED_PART])
        self._published: list[float] = []
        self._checksum = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def publish(self, gateway: GatewayProcess, channel: str) -> None:
        """Publish the next message, and note when."""
        number = len(self._published)
        self._checksum = zlib.crc32(frame(number), self._checksum)
        self._published.append(time.monotonic())
        gateway.publisher.publish(channel, message(number))

    def have_all(self) -> bool:
        """Whether everybody has everything."""
        return all(reader.messages == len(self._published) for reader in self._readers)

    def check(self) -> None:
        """Demand that everybody has got exactly what was published, in order."""
        assert self.have_all()
        assert {reader.checksum for reader in self._sample} == {self._checksum}

    def take_p99(self) -> float:
        """The 99th percentile of the latencies since the last call."""
        taken, self.latencies = sorted(self.latencies), []
        return taken[len(taken) * 99 // 100]

    def close(self) -> None:
        """Hang up."""
        self._ended.set()
        self._thread.join(30)
        for reader in self._readers:
            reader.client.close()

    def _read(self) -> None:
        selector, buffer = selectors.DefaultSelector(), memoryview(bytearray(262_144))
        for reader in self._readers:
            reader.client.setblocking(False)
            selector.register(reader.client, selectors.EVENT_READ, reader)
        while not self._ended.is_set():
            for key, _ in selector.select(0.1):
                reader = key.data
                size = reader.client.recv_into(buffer)
                if not size:
                    selector.unregister(reader.client)  # `check` finds what it lacks
                first = reader.messages
                if reader.take(buffer[:size]) and reader in self._sample:
                    now = time.monotonic()
                    self.latencies += [now - at for at in self._published[first : reader.messages]]
        selector.close()
