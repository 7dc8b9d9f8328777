"""A Redis that is far away: a proxy that holds back what is sent to it, so that each round trip can be felt."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from clarion.presence_scripts import BEAT
from tests.support.ports import free_port

CHUNK_BYTES: Final = 65_536


class FarRedis:
    """Passes bytes to and fro on a port of its own.

    Attributes:
        delay_s: how long what is sent to Redis is under way. Any number of requests that are under way at the same time
            take it once.
        answers_delay_s: the same of what Redis sends; at once, unless a test says so.
        beats: how many heartbeats of the gateway have come by.
    """

    def __init__(self, redis_port: int) -> None:
        self.port = free_port()
        self.delay_s = 0.0
        self.answers_delay_s = 0.0
        self.beats = 0
        self._redis_port = redis_port
        self._loop = asyncio.new_event_loop()
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        """Its address, as ``CLARION_REDIS_URL`` takes it."""
        return f"redis://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, to_redis = await asyncio.open_connection("127.0.0.1", self._redis_port)
        self._writers += [writer, to_redis]
        back = self._loop.create_task(self._pass_back(answers, writer))
        try:
            while data := await reader.read(CHUNK_BYTES):
                self._loop.call_later(self.delay_s, to_redis.write, data)
                self.beats += BEAT.sha.encode() in data
        finally:
            back.cancel()
            to_redis.close()
            writer.close()

    async def _pass_back(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await answers.read(CHUNK_BYTES):
            self._loop.call_later(self.answers_delay_s, writer.write, data)

    @contextmanager
    def running(self) -> Iterator[FarRedis]:
        """Serve on a thread of its own, because tests wait for processes without their loop."""
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._stop(server), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(10)
            self._loop.close()

    async def _stop(self, server: asyncio.Server) -> None:
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
