"""What waits for an ASGI application."""

from __future__ import annotations

import asyncio

import pytest

from clarion.server.inbox import Inbox


async def test_inbox_keeps_order_and_says_when_it_is_full() -> None:
    """Messages come out as they went in; a full inbox still takes the disconnect, and has room at half."""
    inbox = Inbox(asyncio.get_running_loop(), 4, 1_000)
    for number in range(4):
        inbox.put({"number": number})
    assert inbox.is_full
    inbox.put({"number": "last"})
    seen = [await inbox.get(), await inbox.get()]
    assert not inbox.has_room
    seen.append(await inbox.get())
    assert inbox.has_room
    seen += [await inbox.get(), await inbox.get()]
    assert [message["number"] for message in seen] == [0, 1, 2, 3, "last"]


async def test_cancelled_get_loses_nothing() -> None:
    """A get that is cancelled in the moment of its message leaves it to the next one that waits."""
    inbox = Inbox(asyncio.get_running_loop(), 4, 1_000)
    first, second = asyncio.ensure_future(inbox.get()), asyncio.ensure_future(inbox.get())
    await asyncio.sleep(0)
    inbox.put({"number": 1})
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    async with asyncio.timeout(20):
        assert await second == {"number": 1}


async def test_inbox_is_full_of_large_messages() -> None:
    """Bytes count like messages; the last one may go beyond the limit."""
    inbox = Inbox(asyncio.get_running_loop(), 4, 1_000)
    inbox.put({"type": "websocket.receive", "text": "x" * 999}, 999)
    assert not inbox.is_full
    inbox.put({"type": "websocket.receive", "text": "x" * 5_000}, 5_000)
    assert inbox.is_full
    await inbox.get()
    assert inbox.is_full
    assert not inbox.has_room
    await inbox.get()
    assert inbox.has_room
    assert not inbox.is_full
