"""Reads of one thing that many ask for at once, shared."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Found = TypeVar("Found")


class SharedReads(Generic[Found]):
    """Who asks while a read is under way shares the next one: an answer is never older than its question.

    So a channel whose members all ask at once is read twice, whatever their number.
    """

    def __init__(self, read: Callable[[str], Awaitable[Found]]) -> None:
        self._read = read
        self._running: dict[str, asyncio.Task[Found]] = {}
        self._next: dict[str, asyncio.Task[Found]] = {}

    async def read(self, name: str) -> Found:
        """Read, or share a read that has not begun."""
        running = self._running.get(name)
        if running is None:
            task = self._running[name] = asyncio.ensure_future(self._run(name))
        elif (task := self._next.get(name)) is None:  # type: ignore[assignment]
            task = self._next[name] = asyncio.ensure_future(self._run_after(name, running))
        # Shielded: who asked first may go away, the others still want it.
        return await asyncio.shield(task)

    async def stop(self) -> None:
        """End what is under way."""
        tasks = [*self._running.values(), *self._next.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, name: str) -> Found:
        try:
            return await self._read(name)
        finally:
            if name not in self._next:
                del self._running[name]

    async def _run_after(self, name: str, running: asyncio.Task[Found]) -> Found:
        await asyncio.wait([running])
        self._running[name] = self._next.pop(name)
        return await self._run(name)
