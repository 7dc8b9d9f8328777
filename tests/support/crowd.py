"""Thousands of clients of the client protocol that come back, in one process: ``python -m tests.support.crowd``.

Each is a raw asyncio protocol over a WebSocket that subscribes to one channel, recovers by its position, and holds what
it is told against the protocol's promise (:class:`tests.support.recovering_client.Log`). How a connection ended is
counted by its close code; 1006 is one without a Close frame. :class:`Crowd` runs such a process for a test.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import uvloop

from tests.support.recovering_client import Log
from tests.support.sdk_product import token

ROOT: Final = Path(__file__).resolve().parents[2]
CONNECTS_AT_ONCE: Final = 100
CLOSE: Final = 8
TEXT: Final = 1


@dataclass(frozen=True)
class Report:
    """What a crowd has been told so far.

    Attributes:
        subscribed: clients that are subscribed now.
        least, most: publications that a client has.
        wrong: clients whose publications are not ``{"n": 1}`` and on, each once and in order.
        faults: what broke the protocol's promise, the first few.
        ends: how connections ended, by close code.
        refused: answers to handshakes that were not 101, by status; "0": none came.
        resets: how often a client was told to reload.
        retries: temporary errors, after which a client subscribed again, by what they said.
    """

    subscribed: int
    least: int
    most: int
    wrong: int
    faults: list[str]
    ends: dict[str, int]
    refused: dict[str, int]
    resets: int
    retries: dict[str, int]


class Crowd:
    """A process of such clients, seen from a test."""

    def __init__(self, url: str, channel: str, size: int) -> None:
        command = [sys.executable, "-m", "tests.support.crowd", url, channel, str(size)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)

    def report(self) -> Report:
        """Ask how it stands."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("report\n")
        self._process.stdin.flush()
        return Report(**json.loads(self._process.stdout.readline()))

    def stop(self) -> None:
        """End it."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


@contextmanager
def crowd(url: str, channel: str, size: int) -> Iterator[Crowd]:
    """Run a crowd for the length of a ``with`` block."""
    made = Crowd(url, channel, size)
    try:
        yield made
    finally:
        made.stop()


class Host:
    """All clients of the process."""

    def __init__(self, url: str, channel: str, size: int) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self.address = (parts.hostname, parts.port)
        self.channel = channel
        self.ends: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.connecting = asyncio.Semaphore(CONNECTS_AT_ONCE)
        self.clients = [CrowdClient(self, number) for number in range(size)]

    def report(self) -> Report:
        """How it stands."""
        logs = [client.log for client in self.clients]
        counts = [len(log.taken) for log in logs]
        return Report(
            subscribed=sum(client.is_subscribed for client in self.clients),
            least=min(counts),
            most=max(counts),
            wrong=sum(any(data != {"n": n} for n, (_, _, data) in enumerate(log.taken, 1)) for log in logs),
            faults=[fault for log in logs for fault in log.faults][:5],
            ends=dict(self.ends),
            refused=dict(self.refused),
            resets=sum(log.resets for log in logs),
            retries=dict(self.retries),
        )


class CrowdClient:
    """One client, which connects again whenever it was cut."""

    def __init__(self, host: Host, number: int) -> None:
        self.host = host
        self.token = token(f"crowd-{number}")
        self.log = Log(host.channel)
        self.is_subscribed = False
        self.task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with self.host.connecting:
                socket = Socket(self)
                ended = socket.ended
                try:
                    await loop.create_connection(socket.itself, *self.host.address)
                except OSError:
                    self.host.refused["0"] += 1
                    ended.set_result(None)
            await ended
            self.is_subscribed = False
            await asyncio.sleep(random.uniform(0.05, 0.5))


class Socket(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, client: CrowdClient) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._client = client
        self._buffer = b""
        self._is_open = False
        self._code = "1006"

    def itself(self) -> Socket:
        """The protocol factory's answer."""
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        lines = [
            "GET /connection/websocket HTTP/1.1",
            "Host: crowd",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        ]
        self._transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def data_received(self, data: bytes) -> None:
        """Take the answer, then frames."""
        buffer = self._buffer + data
        if not self._is_open:
            head, mark, buffer = buffer.partition(b"\r\n\r\n")
            if not mark:
                self._buffer = head
                return
            status = head.split(b" ", 2)[1].decode()
            if status != "101":
                self._client.host.refused[status] += 1
                self._transport.close()
                return
            self._is_open = True
            self._command(1, connect={"token": self._client.token})
        self._buffer = self._frames(buffer)

    def _frames(self, buffer: bytes) -> bytes:
        """Take all whole frames, which a server does not mask; return what is left."""
        at = 0
        while len(buffer) - at >= 2:
            opcode, size, start = buffer[at] & 15, buffer[at + 1], at + 2
            if size >= 126:
                width = 2 if size == 126 else 8
                size, start = int.from_bytes(buffer[start : start + width], "big"), start + width
            if len(buffer) < start + size:
                break
            self._frame(opcode, buffer[start : start + size])
            at = start + size
        return buffer[at:]

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == CLOSE:
            self._code = str(int.from_bytes(payload[:2], "big"))
            self._write(CLOSE, payload[:2])
        elif opcode == TEXT:
            for line in payload.split(b"\n"):
                self._take(json.loads(line))

    def _take(self, said: dict[str, Any]) -> None:
        client = self._client
        if not said:
            self._write(TEXT, b"{}")
        elif "push" in said:
            if "pub" in said["push"]:
                client.log.published(said["push"]["pub"], is_text=False)
        elif "connect" in said:
            self._subscribe()
        elif "subscribe" in said:
            client.log.subscribed(said["subscribe"])
            client.is_subscribed = True
        elif said.get("error", {}).get("temporary"):  # as the SDKs do
            client.host.retries["{code} {message}".format(**said["error"])] += 1
            asyncio.get_running_loop().call_later(random.uniform(0.1, 0.5), self._subscribe)
        else:
            client.log.faults.append(str(said))

    def _subscribe(self) -> None:
        log = self._client.log
        self._command(2, subscribe={"channel": log.channel, **log.place})

    def _command(self, id: int, **command: Any) -> None:
        self._write(TEXT, json.dumps({"id": id, **command}).encode())

    def _write(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        head = bytes([128 | opcode, 128 | size]) if size < 126 else bytes([128 | opcode, 254]) + size.to_bytes(2, "big")
        self._transport.write(head + bytes(4) + payload)  # masked with zeros

    def connection_lost(self, exc: Exception | None) -> None:
        """Count how it ended."""
        if self._is_open:
            self._client.host.ends[self._code] += 1
        if not self.ended.done():
            self.ended.set_result(None)


async def main(arguments: Sequence[str]) -> None:
    """Run a crowd; each line of the input asks for a report."""
    url, channel, size = arguments
    loop = asyncio.get_running_loop()
    asked = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    host = Host(url, channel, int(size))
    while await asked.readline():
        print(json.dumps(vars(host.report())), flush=True)
    for client in host.clients:
        client.task.cancel()


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1:]))
