"""ws_gateway.lab.pages: requests in threads of their own, so many at a time."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from asgiref.sync import sync_to_async

from ws_gateway.lab.pages import AT_ONCE, LabPages


async def test_pages_take_turns() -> None:
    """A flood of requests has a bounded number of threads, each request one of its own; all are served."""
    arrived, leave = threading.Semaphore(0), threading.Event()
    threads: list[int] = []

    def view() -> None:
        threads.append(threading.get_ident())
        arrived.release()
        leave.wait(30)

    async def django_application(_scope: Any, _receive: Any, _send: Any) -> None:
        await sync_to_async(view)()

    pages = LabPages(django_application)
    requests = [asyncio.create_task(pages({}, None, None)) for _ in range(3 * AT_ONCE)]
    for _ in range(AT_ONCE):
        assert await asyncio.to_thread(arrived.acquire, timeout=30)
    assert len(set(threads)) == len(threads) == AT_ONCE
    leave.set()
    await asyncio.gather(*requests)
    assert len(threads) == 3 * AT_ONCE


async def test_a_request_that_is_given_up_frees_its_turn() -> None:
    """A client that leaves, or a view that fails, takes nobody's place for good."""

    async def django_application(scope: Any, _receive: Any, _send: Any) -> None:
        if scope["path"] == "hangs":
            await asyncio.Event().wait()

    pages = LabPages(django_application)
    hanging = [asyncio.create_task(pages({"path": "hangs"}, None, None)) for _ in range(AT_ONCE)]
    waiting = asyncio.create_task(pages({"path": ""}, None, None))
    await asyncio.sleep(0)
    hanging[0].cancel()
    await asyncio.wait_for(waiting, 30)
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
