"""Clients that stop reading: what they cost the process, and the others."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from clarion.codes import DisconnectCode
from tests.support.waiting import wait_until, wait_until_async

from .conftest import GatewayProcess, token_for
from .stalling import MESSAGE_BYTES, Readers, join

pytestmark = pytest.mark.timeout(180)

CHANNEL = "chat:stalling"
CLIENTS, STALLED = 1_000, 100
ROUNDS, ROUND_MESSAGES = 5, 128  # 4 MiB each, 20 MiB in all
PACE_S = 0.025
LIMIT_BYTES = 2**20


@pytest.fixture
def many_files() -> Iterator[None]:
    """A thousand sockets in the test's own process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * CLIENTS:
        pytest.skip(f"this system allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * CLIENTS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory_bytes(gateway: GatewayProcess) -> int:
    assert gateway.process is not None
    return int(Path(f"/proc/{gateway.process.pid}/statm").read_text().split()[1]) * resource.getpagesize()


def publish(gateway: GatewayProcess, readers: Readers, trickling: Sequence[socket.socket] = ()) -> tuple[float, int]:
    """Publish 20 MiB at an even pace; return the median of the rounds' 99th percentiles, and the most memory.

    Args:
        trickling: stalled clients that now and then take a little, so that what waits for them is joined and moved.
    """
    p99s, most = [], 0
    for _ in range(ROUNDS):
        due = time.monotonic()
        for number in range(ROUND_MESSAGES):
            readers.publish(gateway, CHANNEL)
            # One a message: the readers' thread must not wait for this one.
            for client in trickling[number % STALLED :][:1]:
                with contextlib.suppress(OSError):  # nothing there, or sent away by now
                    client.recv(2048, socket.MSG_DONTWAIT)
            most = max(most, memory_bytes(gateway))
            due += PACE_S
            time.sleep(max(0.0, due - time.monotonic()))
        wait_until(readers.have_all, what="every reader has everything")
        p99s.append(readers.take_p99())
    return statistics.median(p99s), most


def is_cut(client: socket.socket) -> bool:
    """Whether the connection ends before everything that was published."""
    taken = 0
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65_536):
            taken += len(data)
    return taken < ROUNDS * ROUND_MESSAGES * MESSAGE_BYTES


def test_stalled_clients_cost_their_limit_and_nobody_else(gateway: GatewayProcess, many_files: None) -> None:
    """A hundred of a thousand stop reading while 20 MiB are published: the process grows by at most a hundred limits
    and a tenth, the others miss nothing, and their p99 stays under twice that without stalled ones in the same run.

    Each p99 is the median of five rounds, and 5 ms are allowed beyond: other processes share the machine.
    """
    readers = Readers(gateway, CHANNEL, CLIENTS - STALLED)
    stalled: list[socket.socket] = []
    try:
        calm_p99, _ = publish(gateway, readers)
        before = memory_bytes(gateway)
        stalled = [join(gateway, CHANNEL, receive_buffer=4096) for _ in range(STALLED)]
        p99, most = publish(gateway, readers, stalled[: STALLED // 2])
        readers.check()
        print(
            f"p99 {calm_p99 * 1000:.1f} ms calm, {p99 * 1000:.1f} ms stalled; grew by {(most - before) / 2**20:.1f} MiB"
        )
        assert most - before <= STALLED * LIMIT_BYTES * 1.1
        assert p99 <= 2 * calm_p99 + 0.005
        assert all(is_cut(client) for client in stalled)
        grown = STALLED * LIMIT_BYTES // 5
        wait_until(lambda: memory_bytes(gateway) - before < grown, what="the memory is the system's again")
        print(f"and kept {(memory_bytes(gateway) - before) / 2**20:.1f} MiB of it")
    finally:
        readers.close()
        for client in stalled:
            client.close()


async def test_slow_client_of_the_protocol_is_told_3008(gateway: GatewayProcess) -> None:
    """Over 1 MiB waits: what was queued arrives, then the code that has an SDK come back and recover."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    narrow.connect(("127.0.0.1", gateway.port))
    url = f"ws://127.0.0.1:{gateway.port}/connection/websocket"
    async with connect(url, sock=narrow, max_queue=1, compression=None, max_size=None) as client:
        await client.send(json.dumps({"id": 1, "connect": {"token": token_for("7")}}))
        await client.send(json.dumps({"id": 2, "subscribe": {"channel": CHANNEL}}))
        while '"id":2' not in str(await client.recv()):
            pass
        for number in range(250):
            gateway.publisher.publish(CHANNEL, [number, "x" * MESSAGE_BYTES])
        await wait_until_async(lambda: "connection.closing" in gateway.log, what="it is sent away")
        numbers = []
        with contextlib.suppress(ConnectionClosed):
            async for frame in client:
                pushes = [json.loads(line)["push"] for line in str(frame).split("\n")]
                numbers += [push["pub"]["data"][0] for push in pushes]
    assert numbers == list(range(len(numbers)))
    assert 0 < len(numbers) < 250
    assert client.close_code == DisconnectCode.SLOW
