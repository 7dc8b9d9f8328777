"""The generator's processes, as the benchmark sees them: one order goes to all, their answers come back as one."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from tests.load.generator.orders import (
    Ask,
    Asked,
    CloseAll,
    Collect,
    Connect,
    Connected,
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
from tests.load.generator.worker import worker_main

ANSWER_DEADLINE_S = 180.0
"""Longer than any order may take by its own deadline: a process that hangs ends the run with an error."""

Part = TypeVar("Part")


class GeneratorFailed(Exception):
    """A generator process ended or hung."""


class Fleet:
    """Generator processes; work is dealt out to them in turn."""

    def __init__(self, processes: Sequence[tuple[BaseProcess, Connection]]) -> None:
        self._processes = processes

    @property
    def pids(self) -> list[int]:
        """Process ids, for their CPU time."""
        return [process.pid for process, _ in self._processes if process.pid is not None]

    def connect(self, order: Connect) -> Connected:
        """Open WebSockets."""
        parts = zip(self._deal(order.requests), self._deal(order.dialogues), strict=True)
        return _joined(self._ask_parts([replace(order, requests=requests, dialogues=said) for requests, said in parts]))

    def talk(self, order: Talk) -> Connected:
        """Have the clients that talk go on; none of them may have gone since they were connected."""
        return _joined(self._ask_parts([replace(order, dialogues=part) for part in self._deal(order.dialogues)]))

    def greet(self, order: Greet) -> Connected:
        """Send the handshakes of mute clients."""
        return _joined(self._ask_parts([order] * len(self._processes)))

    def expect(self, each: int) -> None:
        """Begin to count anew."""
        self._ask_parts([Expect(each)] * len(self._processes))

    def expect_by_client(self, *by_client: list[int]) -> None:
        """Begin to count anew; so many at each client: a list for each order that connected some, in their order."""
        dealt = [self._deal(order) for order in by_client]
        self._ask_parts([Expect(0, [count for part in parts for count in part]) for parts in zip(*dealt, strict=True)])

    def collect(self, deadline_s: float) -> Received:
        """Wait for what is expected."""
        answers: list[Received] = self._ask_parts([Collect(deadline_s)] * len(self._processes))
        return Received(
            frames=sum(answer.frames for answer in answers),
            expected=sum(answer.expected for answer in answers),
            done_ns=max(answer.done_ns for answer in answers),
            latencies_ns=[latency for answer in answers for latency in answer.latencies_ns],
            lost=sum(answer.lost for answer in answers),
            skipped=sum(answer.skipped for answer in answers),
            faults=[fault for answer in answers for fault in answer.faults],
        )

    def echo(self, order: Echo) -> Echoed:
        """Send frames to and fro."""
        answers: list[Echoed] = self._ask_parts([order] * len(self._processes))
        return Echoed(sum(answer.round_trips for answer in answers), max(answer.wall_s for answer in answers))

    def ask(self, order: Ask) -> Asked:
        """Take the time of questions and answers."""
        answers: list[Asked] = self._ask_parts([order] * len(self._processes))
        return Asked(
            frames=sum(answer.frames for answer in answers),
            wall_s=max(answer.wall_s for answer in answers),
            latencies_ns=[latency for answer in answers for latency in answer.latencies_ns],
            unanswered=sum(answer.unanswered for answer in answers),
            faults=[fault for answer in answers for fault in answer.faults],
        )

    def post(self, order: Post) -> Posted:
        """Repeat HTTP requests."""
        answers: list[Posted] = self._ask_parts(
            [replace(order, requests=part) for part in self._deal(order.requests)],
        )
        statuses: Counter[int] = Counter()
        for answer in answers:
            statuses.update(answer.statuses)
        return Posted(dict(statuses), max(answer.wall_s for answer in answers))

    def close_all(self) -> None:
        """Drop every connection."""
        self._ask_parts([CloseAll()] * len(self._processes))

    def _deal(self, items: list[Part]) -> list[list[Part]]:
        count = len(self._processes)
        return [items[start::count] for start in range(count)]

    def _ask_parts(self, orders: Sequence[Order]) -> list[Any]:
        for (_, pipe), order in zip(self._processes, orders, strict=True):
            pipe.send(order)
        return [self._answer(process, pipe) for process, pipe in self._processes]

    def _answer(self, process: BaseProcess, pipe: Connection) -> Any:
        if not pipe.poll(ANSWER_DEADLINE_S):
            raise GeneratorFailed(f"a generator process did not answer within {ANSWER_DEADLINE_S:g} s")
        try:
            return pipe.recv()
        except EOFError:
            process.join(5)
            raise GeneratorFailed(f"a generator process ended with code {process.exitcode}") from None


def _joined(answers: list[Connected]) -> Connected:
    refused: Counter[str] = Counter()
    for answer in answers:
        refused.update(answer.refused)
    return Connected(
        accepted=sum(answer.accepted for answer in answers),
        refused=dict(refused),
        wall_s=max(answer.wall_s for answer in answers),
        answers_ns=[answer_ns for answer in answers for answer_ns in answer.answers_ns],
    )


@contextmanager
def fleet(cores: frozenset[int], processes: int = 1) -> Iterator[Fleet]:
    """Run generator processes on ``cores`` for the length of a ``with`` block."""
    context = multiprocessing.get_context("spawn")
    started: list[tuple[BaseProcess, Connection]] = []
    try:
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process: BaseProcess = context.Process(target=worker_main, args=(theirs, cores), daemon=True)
            process.start()
            theirs.close()
            started.append((process, ours))
        yield Fleet(started)
    finally:
        for process, pipe in started:
            _end(process, pipe)


def _end(process: BaseProcess, pipe: Connection) -> None:
    with suppress(OSError):  # it is gone already
        pipe.send(Stop())
    process.join(5)
    if process.is_alive():
        process.kill()
        process.join(5)
    pipe.close()
