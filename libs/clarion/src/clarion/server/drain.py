"""The way out: stop accepting, say 1012 to everyone, let handlers and buffers finish, then leave.

Stock daphne cancels its applications and drops every socket without a word (traps 37 to 40).
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from clarion.server.reactor import exit_now

if TYPE_CHECKING:
    from clarion.server.server import Server

log = logging.getLogger("clarion.server")

SLICE = 200  # sockets closed in one turn of the loop
POLL_S = 0.02
CANCEL_S = 1.0


async def drain(server: Server) -> None:
    """Run the whole shutdown; bounded by ``drain_s`` and a few seconds for hooks and cancellations. Never raises."""
    server.draining = True
    _leave_on_second_signal(server)
    for told in server.on_drain:
        _call(told)
    await _bounded(_stop_listening(server), CANCEL_S)
    log.info("draining %d connections, at most %g s", len(server.shared.sockets), server.drain_s)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + server.drain_s
    await _close_sockets(server)
    # A streamed response (SSE) ends only when its application is told; a short one gets half the time for itself.
    if not await _quiet(server, loop.time() + server.drain_s / 2):
        server.disconnect_streams()
        await _quiet(server, deadline)
    await _cancel(server.running_applications())
    for hook in server.on_shutdown:
        await _bounded(hook(), max(CANCEL_S, server.drain_s))
    # `run()` would return with these still pending, and Python would say so at exit (trap 40).
    current = asyncio.current_task()
    await _cancel([task for task in asyncio.all_tasks() if task is not current])


def _leave_on_second_signal(server: Server) -> None:
    """Twisted's own handler would do nothing the second time (trap 39)."""
    if server.signal_handlers:
        signal.signal(signal.SIGTERM, exit_now)
        signal.signal(signal.SIGINT, exit_now)


async def _stop_listening(server: Server) -> None:
    for port in server.ports:
        stopped = port.stopListening()
        if stopped is not None:
            await stopped.asFuture(asyncio.get_running_loop())
    server.ports.clear()


async def _close_sockets(server: Server) -> None:
    for number, socket in enumerate(list(server.shared.sockets), 1):
        _call(socket.drain)
        if number % SLICE == 0:
            await asyncio.sleep(0)  # a room of 10,000 must not stop the answers to the first


async def _quiet(server: Server, deadline: float) -> bool:
    """Wait until no socket is left, no application runs and nothing waits to be written (trap 38)."""
    loop = asyncio.get_running_loop()
    while server.shared.sockets or server.running_applications() or server.has_unwritten():
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True


async def _cancel(tasks: list[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        # Not gather(): it returns at the first that was cancelled (trap 37).
        await asyncio.wait(tasks, timeout=CANCEL_S)


async def _bounded(awaitable: Any, timeout_s: float) -> None:
    try:
        await asyncio.wait_for(awaitable, timeout_s)
    except Exception:  # the rest of the shutdown goes on
        log.exception("a step of the shutdown failed")


def _call(function: Callable[[], object]) -> None:
    try:
        function()
    except Exception:  # the rest of the shutdown goes on
        log.exception("a step of the shutdown failed")
