"""A generator process: it carries out orders of its pipe, one after the other, on one uvloop."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Final, TypeVar

import uvloop

from tests.load.generator.clients import AskClient, Client, EchoClient, Refused, Tally, client_frame
from tests.load.generator.http_client import HttpClient
from tests.load.generator.orders import (
    Ask,
    Asked,
    CloseAll,
    Collect,
    Connect,
    Connected,
    Dialogue,
    Echo,
    Echoed,
    Expect,
    Greet,
    Order,
    Post,
    Posted,
    Received,
    Stop,
    Talk,
)
from tests.load.generator.streams import StreamClient
from tests.load.generator.talking import TalkClient

HOST: Final = "127.0.0.1"

LOOK_S: Final = 0.05
"""How often is looked whether more has arrived; the time of the last arrival is known so well."""

AnyClient = TypeVar("AnyClient")


def worker_main(pipe: Connection, cores: frozenset[int]) -> None:
    """Run one generator process on ``cores`` until it is told to stop or its parent is gone."""
    os.sched_setaffinity(0, cores)
    # Its own pauses would be taken for the server's; a process lives for one scenario, so garbage may stay.
    gc.disable()
    uvloop.run(Worker(pipe).run())


class Worker:
    """The clients of one process."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._tally = Tally()
        self._clients: list[Client] = []
        self._expected: list[int] = []  # of each client; empty: the same of all

    async def run(self) -> None:
        """Carry out orders until :class:`~tests.load.generator.orders.Stop` or the end of the pipe."""
        while not isinstance(order := await self._order(), Stop):
            self._pipe.send(await self._carry_out(order))

    async def _order(self) -> Order:
        # In a thread: uvloop would make the pipe non-blocking, which its reader cannot take.
        try:
            order: Order = await asyncio.get_running_loop().run_in_executor(None, self._pipe.recv)
        except EOFError:
            return Stop()
        return order

    async def _carry_out(self, order: Order) -> Any:
        match order:
            case Connect():
                return await self._connect(order)
            case Greet():
                return await self._greet(order)
            case Expect():
                return self._expect(order)
            case Collect():
                return await self._collect(order)
            case Echo():
                return await self._echo(order)
            case Ask():
                return await self._ask(order)
            case Talk():
                return await self._talk(order)
            case Post():
                return await self._post(order)
            case CloseAll():
                return self._close_all()
        raise TypeError(f"not an order: {order!r}")

    async def _connect(self, order: Connect) -> Connected:
        gate = asyncio.Semaphore(order.in_flight or len(order.requests) or 1)
        clients = [self._client(order, index) for index in range(len(order.requests))]
        for client in clients:
            client.is_mute = order.is_mute
        start = time.monotonic()
        opening = [_open(client, order.port, gate) for client in clients]
        result = await _accepted(clients, opening, order.deadline_s)
        result.wall_s = time.monotonic() - start
        self._clients += [client for client in clients if client.is_open or client.is_mute]
        return result

    def _client(self, order: Connect, index: int) -> Client:
        if order.kind == "echo":
            return EchoClient(self._tally, order.requests[index])
        if order.kind == "ask":
            return AskClient(self._tally, order.requests[index])
        is_timed = order.timed_every > 0 and index % order.timed_every == 0
        if order.kind == "count":
            return Client(self._tally, order.requests[index], is_timed=is_timed, joint=order.joint)
        kind = StreamClient if order.kind == "stream" else TalkClient
        said = order.dialogues[index]
        return kind(self._tally, order.requests[index], said, is_timed=is_timed, joint=order.joint)

    async def _greet(self, order: Greet) -> Connected:
        mute = [client for client in self._clients if client.is_mute]
        gate = asyncio.Semaphore(order.in_flight or len(mute) or 1)
        return await _accepted(mute, [_greet(client, gate) for client in mute], order.deadline_s)

    def _expect(self, order: Expect) -> None:
        if not order.by_client:  # else each has its place, and one that is gone is missed
            self._clients = [client for client in self._clients if client.is_open or client.is_mute]
        for client in self._clients:
            client.reset()
        self._expected = order.by_client
        self._tally.reset(sum(order.by_client) or order.each * sum(client.is_open for client in self._clients))

    async def _collect(self, order: Collect) -> Received:
        tally = self._tally
        done = asyncio.Event()
        tally.on_done = done.set
        end = time.monotonic() + order.deadline_s
        while not tally.note_progress() and (left_s := end - time.monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(LOOK_S, left_s)):
                    await done.wait()
        tally.on_done = lambda: None
        common = Counter(tally.faults).most_common(10)
        faults = [f"{text} ({count} times)" for text, count in common]
        faults += self._uneven() if tally.done_ns else []
        return Received(
            frames=tally.frames,
            expected=tally.target,
            done_ns=tally.done_ns or tally.last_ns,
            latencies_ns=tally.latencies_ns,
            lost=tally.lost,
            skipped=tally.skipped,
            faults=faults,
        )

    def _uneven(self) -> list[str]:
        """What is wrong if not every client got what it was to get, in whole frames of one size."""
        if self._expected:
            pairs = zip(self._clients, self._expected, strict=True)
            wrong = sum(client.frames != expected for client, expected in pairs)
            return [f"{wrong} clients did not receive what was sent to them"] if wrong else []
        if any(client.is_joined for client in self._clients):
            different = {client.frames for client in self._clients}
            return [f"clients received different numbers: {sorted(different)[:4]}"] if len(different) > 1 else []
        counts = {(client.frames, client.bytes) for client in self._clients}
        if len(counts) > 1:
            return [f"clients received different frames and bytes: {sorted(counts)[:4]}"]
        return [f"{size} bytes in {frames} frames" for frames, size in counts if frames and size % frames]

    async def _echo(self, order: Echo) -> Echoed:
        frame = client_frame(order.text)
        echoing = [client for client in self._clients if isinstance(client, EchoClient)]
        self._tally.reset(2**63)
        start = time.monotonic()
        for client in echoing:
            client.frame = frame
            client.send(frame)
        await asyncio.sleep(order.duration_s)
        result = Echoed(round_trips=self._tally.frames, wall_s=time.monotonic() - start)
        for client in echoing:
            client.frame = None
        return result

    async def _ask(self, order: Ask) -> Asked:
        frame = client_frame(order.text)
        clients = [client for client in self._clients if isinstance(client, AskClient)]
        asking = clients[: order.askers or None]
        self._tally.reset(2**63)
        start = time.monotonic()
        if order.rate_hz:
            rounds = [self._ask_at(client, frame, index / len(asking), order) for index, client in enumerate(asking)]
            await asyncio.gather(*rounds)
        else:
            for client in asking:
                client.again = None if order.once else frame
                client.ask(frame)
        await asyncio.sleep(max(0.0, start + order.duration_s - time.monotonic()))
        for client in clients:
            client.again = None
        return Asked(
            frames=self._tally.frames,
            wall_s=time.monotonic() - start,
            latencies_ns=self._tally.latencies_ns,
            unanswered=sum(client.is_waiting for client in asking),
            faults=self._tally.faults,
        )

    async def _ask_at(self, client: AskClient, frame: bytes, phase: float, order: Ask) -> None:
        """Ask at the order's rate; ``phase`` (0 to 1) spreads the clients over one interval."""
        start = time.monotonic()
        for number in range(int(order.rate_hz * order.duration_s)):
            await asyncio.sleep(max(0.0, start + (number + phase) / order.rate_hz - time.monotonic()))
            client.ask(frame)

    async def _talk(self, order: Talk) -> Connected:
        talking = [client for client in self._clients if isinstance(client, TalkClient) and client.is_open]
        gate = asyncio.Semaphore(order.in_flight or len(talking) or 1)
        start = time.monotonic()
        answers = [_talk(client, said, gate) for client, said in zip(talking, order.dialogues, strict=True)]
        result = await _accepted(talking, answers, order.deadline_s)
        result.wall_s = time.monotonic() - start
        return result

    async def _post(self, order: Post) -> Posted:
        loop = asyncio.get_running_loop()
        statuses: Counter[int] = Counter()
        clients = [HttpClient(request, statuses) for request in order.requests]
        for client in clients:
            await loop.create_connection(partial(_itself, client), HOST, order.port)
        start = time.monotonic()
        statuses.clear()
        await asyncio.sleep(order.duration_s)
        result = Posted(statuses=dict(statuses), wall_s=time.monotonic() - start)
        for client in clients:
            client.stop()
        return result

    def _close_all(self) -> None:
        for client in self._clients:
            client.drop()
        self._clients.clear()


def _itself(client: AnyClient) -> AnyClient:
    return client


async def _accepted(clients: Sequence[Client], opening: Sequence[Awaitable[str]], deadline_s: float) -> Connected:
    """Wait until each client was accepted or refused; drop those that were not accepted."""
    tasks = [asyncio.ensure_future(answer) for answer in opening]
    if tasks:
        await asyncio.wait(tasks, timeout=deadline_s)
    refused: Counter[str] = Counter()
    for client, task in zip(clients, tasks, strict=True):
        cause = task.result() if task.done() else f"no answer within {deadline_s:g} s"
        if cause:
            task.cancel()
            client.drop()
            refused[cause] += 1
    answers_ns = [client.answer_ns for client in clients if isinstance(client, TalkClient) and client.is_open]
    return Connected(len(clients) - refused.total(), dict(refused), answers_ns=answers_ns)


async def _open(client: Client, port: int, gate: asyncio.Semaphore) -> str:
    """Connect and shake hands; return why it was refused, or ""."""
    async with gate:
        try:
            await asyncio.get_running_loop().create_connection(partial(_itself, client), HOST, port)
        except OSError as exc:
            return type(exc).__name__
        return await _opened(client)


async def _greet(client: Client, gate: asyncio.Semaphore) -> str:
    async with gate:
        client.greet()
        return await _opened(client)


async def _talk(client: TalkClient, dialogue: Dialogue, gate: asyncio.Semaphore) -> str:
    async with gate:
        client.talk(dialogue)
        return await _opened(client)


async def _opened(client: Client) -> str:
    try:
        await client.opened
    except Refused as exc:
        return str(exc)
    return ""
