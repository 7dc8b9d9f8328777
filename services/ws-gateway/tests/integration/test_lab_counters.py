"""The lab's counters and threads in a real gateway process, with clients that go without a word."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.waiting import DEADLINE_S

from .conftest import GatewayProcess, received

pytestmark = pytest.mark.timeout(120)

START = '{"msg": "start"}'


def lab(gateway: GatewayProcess, path: str) -> connect:
    return connect(f"ws://127.0.0.1:{gateway.port}/ws/lab/{path}", open_timeout=DEADLINE_S, compression=None)


@contextlib.asynccontextmanager
async def sockets(gateway: GatewayProcess, path: str, count: int) -> AsyncIterator[list[ClientConnection]]:
    """Open sockets, all before the first message; at the end they hang up without a Close frame."""
    opened = [await lab(gateway, path) for _ in range(count)]
    try:
        yield opened
    finally:
        for socket in opened:
            socket.transport.abort()


async def answers(gateway: GatewayProcess) -> Any:
    """The answer of another lesson, one that needs a thread for itself."""
    async with asyncio.timeout(DEADLINE_S), lab(gateway, "wsc/") as socket:
        await socket.send('{"msg": "hello"}')
        return (await received(socket, 1))[0]


async def start_all(opened: list[ClientConnection]) -> None:
    for socket in opened:
        await socket.send(START)


async def test_a_lost_client_stops_its_blocking_counter_and_frees_its_slot(gateway: GatewayProcess) -> None:
    """Five hold every slot of this address; when they are gone, five more count, long before 30 s are over."""
    async with sockets(gateway, "counter/sync/", 5) as first:
        await start_all(first)
        assert [(await received(socket, 1))[0] for socket in first] == [{"count": 1}] * 5
        async with lab(gateway, "counter/sync/") as sixth:
            await sixth.send(START)
            assert (await received(sixth, 1))[0]["error"]["code"] == "too_many_requests"
            with pytest.raises(ConnectionClosed):
                await sixth.recv()
            assert sixth.close_code == 4429
    async with asyncio.timeout(15), contextlib.AsyncExitStack() as stack:
        counting = 0
        while counting < 5:
            (socket,) = await stack.enter_async_context(sockets(gateway, "counter/sync/", 1))
            await socket.send(START)
            counting += (await received(socket, 1)) == [{"count": 1}]
    assert "took too long" not in gateway.log


async def test_blocking_counters_stop_nobody_else(gateway: GatewayProcess) -> None:
    """Each has a thread of its own: another sync lesson, a sign-in with a query, and health answer meanwhile."""
    async with sockets(gateway, "counter/sync/", 5) as blocking:
        await start_all(blocking)
        for socket in blocking:
            await received(socket, 1)
        assert await answers(gateway) == {"msg": "hello"}
        async with lab(gateway, "whoami/") as socket:
            assert "user" in (await received(socket, 1))[0]
        assert await asyncio.to_thread(gateway.health, "ready") == 200
        for socket in blocking:  # and they still count
            await received(socket, 1)


@pytest.mark.parametrize(("path", "in_turn"), [("async/?", False), ("sync/?", False), ("sync/?thread=page&", True)])
async def test_five_counters_show_what_blocking_means(gateway: GatewayProcess, path: str, in_turn: bool) -> None:
    """In one shared thread, as in stock Channels, each waits for the one before; else all begin at once."""
    arrivals: list[tuple[int, int]] = []

    async def watch(number: int, socket: ClientConnection) -> None:
        for count in range(1, 31):
            assert await received(socket, 1) == [{"count": count}]
            arrivals.append((number, count))

    async with sockets(gateway, f"counter/{path}interval_ms=80", 5) as opened:
        started = time.monotonic()
        await start_all(opened)
        async with asyncio.timeout(90):
            await asyncio.gather(*(watch(number, socket) for number, socket in enumerate(opened)))
        took_s = time.monotonic() - started
    turns = sorted(range(5), key=lambda number: arrivals.index((number, 1)))  # whichever thread was first
    firsts = [arrivals.index((number, 1)) for number in turns]
    if in_turn:
        # Halves, because frames that this process reads in one turn may change places.
        halves = [arrivals.index((number, 15)) for number in turns]
        assert all(half < first for half, first in zip(halves, firsts[1:], strict=False))
        assert took_s > 149 * 0.08
    else:
        assert firsts[-1] < min(arrivals.index((number, 30)) for number in range(5))


async def test_a_socket_that_waits_for_its_thread_can_leave(gateway: GatewayProcess) -> None:
    """The ones behind a counter are served when its client is gone, and find their own gone, too."""
    async with sockets(gateway, "counter/sync/?thread=left", 3) as opened:
        await start_all(opened)
        await received(opened[0], 1)
    async with sockets(gateway, "counter/sync/?thread=left", 1) as (socket,), asyncio.timeout(DEADLINE_S):
        await socket.send(START)
        assert await received(socket, 1) == [{"count": 1}]


async def test_a_stop_of_the_gateway_ends_blocking_counters(gateway: GatewayProcess) -> None:
    """Told to leave, it is gone long before they would be done: their next send finds the socket closed."""
    async with sockets(gateway, "counter/sync/", 2) as opened:
        await start_all(opened)
        for socket in opened:
            await received(socket, 1)
        started = time.monotonic()
        assert await asyncio.to_thread(gateway.stop) == 0
        assert time.monotonic() - started < 15
        for socket in opened:
            await socket.wait_closed()
            assert socket.close_code == 1012
