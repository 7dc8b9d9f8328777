"""Order and completeness: turns, batches, partial writes, readers that pause, joins and leaves, all together."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection

from tests.support.waiting import wait_until_async

from .conftest import GatewayProcess, running_gateway

ALWAYS = 8
"""Members that stay: more than two turns' worth."""

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(1, 40), st.sampled_from([10, 500, 5_000])),
        st.tuples(st.just("join"), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("leave"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("pause"), st.integers(0, ALWAYS - 1), st.just(0)),
        st.tuples(st.just("resume"), st.integers(0, ALWAYS - 1), st.just(0)),
    ),
    min_size=5,
    max_size=25,
)


@pytest.fixture(scope="module")
def short_turns(
    shared_redis_url: str, migrated_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("short-turns")
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    application = "short_turns:application"
    with running_gateway(
        folder, shared_redis_url, migrated_database, application=application, PYTHONPATH=path
    ) as found:
        yield found


@dataclass
class Reader:
    """A client of a plain room with a small buffer, which notes the numbers that come."""

    connection: ClientConnection
    numbers: list[int] = field(default_factory=list)
    may_read: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    async def read(self) -> None:
        async for text in self.connection:
            self.numbers.append(json.loads(text)["n"])
            await self.may_read.wait()

    async def end(self) -> None:
        """Leave; what has come by then has been noted."""
        self.may_read.set()
        await self.connection.close()
        assert self.task is not None
        await self.task


async def joined(gateway: GatewayProcess, channel: str) -> Reader:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", gateway.port))
    reader = Reader(await gateway.connect(channel, sock=client, max_queue=1))
    reader.may_read.set()
    reader.task = asyncio.create_task(reader.read())
    return reader


async def scenario(gateway: GatewayProcess, channel: str, steps: list[tuple[str, int, int]]) -> None:
    """Do the steps; then everybody reads on until the last publication has come."""
    staying = [await joined(gateway, channel) for _ in range(ALWAYS)]
    passing: dict[int, Reader] = {}
    gone: list[Reader] = []
    count = 0
    for step, which, more in steps:
        if step == "publish":
            for _ in range(which):
                count += 1
                await asyncio.to_thread(gateway.publisher.publish, channel, {"n": count, "text": "x" * more})
        elif step == "join" and which not in passing:
            passing[which] = await joined(gateway, channel)
            passing[which].numbers.append(count)  # all that is published from here on is for it
        elif step == "leave" and which in passing:
            gone.append(passing.pop(which))
            await gone[-1].end()
        elif step == "pause":
            staying[which].may_read.clear()
        elif step == "resume":
            staying[which].may_read.set()
    for reader in staying:
        reader.may_read.set()
    await asyncio.to_thread(gateway.publisher.publish, channel, {"n": count + 1})
    there = (*staying, *passing.values())
    await wait_until_async(lambda: all(reader.numbers[-1:] == [count + 1] for reader in there))
    for reader in there:
        await reader.end()
    assert all(reader.numbers == list(range(1, count + 2)) for reader in staying)
    for reader in (*passing.values(), *gone):
        assert_row(reader.numbers)


def assert_row(numbers: list[int]) -> None:
    """The first entry is what had been published at the join; some of that may have been under way, and come."""
    published, *came = numbers
    if came:
        assert came == list(range(came[0], came[0] + len(came)))
        assert came[0] <= published + 1


@pytest.mark.parametrize("namespace", ["chat", "kept"])
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # a failure may take a deadline to show: none is made smaller
)
@given(steps=STEPS)
def test_each_member_gets_everything_once_in_order(
    short_turns: GatewayProcess, namespace: str, steps: list[tuple[str, int, int]]
) -> None:
    """Plain channels and kept ones; who joins gets all from then on, who leaves has a row without a hole."""
    asyncio.run(scenario(short_turns, f"{namespace}:{uuid4().hex[:12]}", steps))


async def test_writes_are_partial_here(short_turns: GatewayProcess) -> None:
    """The property above would say little if sockets took all at once."""
    channel = f"chat:{uuid4().hex[:12]}"
    reader = await joined(short_turns, channel)
    reader.may_read.clear()
    for number in range(1, 41):
        await asyncio.to_thread(short_turns.publisher.publish, channel, {"n": number, "text": "x" * 5_000})
    await wait_until_async(lambda: any(event["event"] == "socket.full" for event in short_turns.events))
    reader.may_read.set()
    await wait_until_async(lambda: len(reader.numbers) == 40)
    await reader.end()
    assert reader.numbers == list(range(1, 41))
