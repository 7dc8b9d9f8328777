"""Reads from one Redis server: each at once while there are few, together while there are many.

Two thousand clients that come back to channels of their own ask for two thousand slices. Each by itself takes a turn at
a connection: the last ones would wait longer than Redis may take to answer, though it is not Redis that is slow.

Source: ADR-0006.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from redis.exceptions import NoScriptError

from clarion.connections import REDIS_ERRORS

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from clarion.redis_commands import Command

LANES: Final = 4
"""Reads, or batches of reads, that are under way at the same time."""

BATCH: Final = 32
"""Reads that travel together: their answers are decoded in one turn of the event loop, 100 publications in 0.2 ms."""

STOP_S: Final = 2.0


class Waiting(NamedTuple):
    """A read that waits for a lane."""

    command: Command
    answer: asyncio.Future[Any]


class ReadLanes:
    """Sends commands that only read; one event loop's.

    Attributes:
        answered: how many Redis has answered so far.
    """

    def __init__(self, client: Redis) -> None:
        self.answered = 0
        self._client = client
        self._busy = 0
        self._waiting: deque[Waiting] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, command: Command) -> Any:
        """Send one command and return its answer; a script that Redis does not know, with its text.

        Raises:
            RedisError, OSError: as redis-py.
        """
        if self._busy >= LANES:
            waiting = Waiting(command, asyncio.get_running_loop().create_future())
            self._waiting.append(waiting)
            return await waiting.answer
        self._busy += 1
        try:
            answer = await command_send(self._client, command)
            self.answered += 1
            return answer
        finally:
            self._busy -= 1
            self._go_on()

    async def stop(self) -> None:
        """End what is under way, within two seconds (redis-py may lose a cancellation); who waits is cancelled."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_S)
        while self._waiting:
            self._waiting.popleft().answer.cancel()

    def _go_on(self) -> None:
        """A lane is free: for what waits, if anything does."""
        if self._waiting:
            self._busy += 1
            task = asyncio.get_running_loop().create_task(self._send_waiting())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send_waiting(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                try:
                    answers = await self._answers([waiting.command for waiting in batch])
                except BaseException as exc:
                    self._fail([*batch, *self._waiting], exc)
                    raise
                self.answered += len(answers)
                for waiting, answer in zip(batch, answers, strict=True):
                    _settle(waiting.answer, answer)
        except REDIS_ERRORS:
            pass  # whoever waited has been told
        finally:
            self._busy -= 1

    def _fail(self, waiting: list[Waiting], exc: BaseException) -> None:
        """Redis is away: also who waits for a later batch has waited long enough."""
        self._waiting.clear()
        for each in waiting:
            if isinstance(exc, Exception):
                _settle(each.answer, exc)
            else:
                each.answer.cancel()

    async def _answers(self, commands: list[Command]) -> list[Any]:
        answers = await pipeline(self._client, commands)
        for index, answer in enumerate(answers):
            if isinstance(answer, NoScriptError):  # nothing of it has been done, and now Redis learns it
                answers[index] = await self._client.execute_command(*commands[index].full)
        return answers


async def command_send(client: Redis, command: Command) -> Any:
    """Send one command and return its answer; a script that Redis does not know, with its text.

    Raises:
        RedisError, OSError: as redis-py.
    """
    try:
        return await client.execute_command(*command.short)
    except NoScriptError:
        return await client.execute_command(*command.full)  # nothing of it has been done yet


async def pipeline(client: Redis, commands: list[Command]) -> list[Any]:
    """Send commands together; an answer may be an error."""
    async with client.pipeline(transaction=False) as together:
        for command in commands:
            together.execute_command(*command.short)
        return list(await together.execute(raise_on_error=False))


def _settle(answer: asyncio.Future[Any], value: Any) -> None:
    if answer.done():  # its caller is gone
        return
    if isinstance(value, Exception):
        answer.set_exception(value)
    else:
        answer.set_result(value)
