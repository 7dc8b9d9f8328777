"""Sending clients away: all of them before the end, or a share of them that others are to serve.

The end: not ready any more; a wait in which the balancer learns of it and clients are served as ever; then nothing is
accepted, clients are told at a pace, handlers and buffers finish, and the process leaves. A second signal hurries:
no wait, no pace, but goodbye to everyone. A third one ends the process at once.

Stock daphne cancels its applications and drops every socket without a word (traps 37 to 40).
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from clarion.server.connection import CLOSE_TIMEOUT_S
from clarion.server.pace import Pace
from clarion.server.reactor import exit_now

if TYPE_CHECKING:
    from clarion.server.server import Server

log = logging.getLogger("clarion.server")

POLL_S: Final = 0.02
CANCEL_S: Final = 1.0
HOOK_S: Final = 15.0
ACCEPTS_MAX: Final = 4096


class DrainUnderWay(RuntimeError):
    """Clients are being sent away already."""


class Drain:
    """How one server lets its clients go.

    Args:
        wait_s: from SIGTERM until nothing is accepted any more.
        over_s: over which clients are told, all of them or a share.
        grace_s: from the last one told until what is unfinished is cut.
    """

    def __init__(self, server: Server, *, wait_s: float, over_s: float, grace_s: float) -> None:
        self._server = server
        self._wait_s = wait_s
        self._over_s = over_s
        self._grace_s = grace_s
        self.is_asked_for = False
        """Whether the end was asked for by a call: then the first signal is no second one."""
        self._signals = 0
        self._hurried = asyncio.Event()
        self._pace: Pace | None = None
        self._shedding: asyncio.Task[None] | None = None

    # A share of the clients

    def shed(self, share: float) -> int:
        """Send a share of the connections away, chosen at random; return how many.

        The server goes on: new ones are accepted, those that were sent away too, should they come back here.

        Raises:
            DrainUnderWay: another one runs.
            ValueError: the share is not over 0 and at most 1.
        """
        if not 0 < share <= 1:
            raise ValueError("a share is over 0 and at most 1")
        if self._server.draining or self._shedding is not None:
            raise DrainUnderWay
        here = list(self._server.shared.sockets)
        chosen = random.sample(here, math.ceil(share * len(here)))
        pace = Pace(chosen, self._over_s, self._server.on_goodbye)
        log.info(
            "shedding %d of %d connections, over %.1f s",
            len(chosen),
            len(here),
            pace.lasts_s,
            extra={"event": "shedding.started"},
        )
        self._shedding = self._server.shared.loop.create_task(pace.run())
        self._shedding.add_done_callback(self._shed_done)
        return len(chosen)

    def _shed_done(self, _task: asyncio.Task[None]) -> None:
        self._shedding = None
        log.info(
            "shedding is done, %d connections are left",
            len(self._server.shared.sockets),
            extra={"event": "shedding.ended"},
        )

    # All of them

    async def run(self) -> None:
        """Run the whole end: bounded by the three times and a few seconds for hooks and cancellations. Never raises."""
        server = self._server
        server.draining = True
        self._take_signals()
        for told in server.on_drain:
            _call(told)
        if self._shedding is not None:
            self._shedding.cancel()
        await self._wait()
        server.listens = False
        await _bounded(_stop_listening(server), CANCEL_S)
        await self._tell()
        await self._finish()
        for hook in server.on_shutdown:
            await _bounded(hook(), HOOK_S)
        # `run()` would return with these still pending, and Python would say so at exit (trap 40).
        current = asyncio.current_task()
        await _cancel([task for task in asyncio.all_tasks() if task is not current])

    def hurry(self) -> None:
        """Skip the wait and the pace; everybody is told at once."""
        self._hurried.set()
        if self._pace is not None:
            self._pace.is_hurried = True

    def _take_signals(self) -> None:
        """Twisted's own handler would do nothing the second time (trap 39)."""
        self._signals = 0 if self.is_asked_for else 1
        if self._server.signal_handlers:
            signal.signal(signal.SIGTERM, self._signal)
            signal.signal(signal.SIGINT, self._signal)

    def _signal(self, signum: int, _frame: object) -> None:
        self._signals += 1
        if self._signals == 1:  # an orchestrator's, behind its own request
            log.info("signal %d: draining already", signum, extra={"event": "signal.ignored"})
        elif self._signals == 2:
            log.warning(
                "signal %d again: hurrying; the next one ends the process at once",
                signum,
                extra={"event": "drain.hurried"},
            )
            self._server.shared.loop.call_soon_threadsafe(self.hurry)
        else:
            exit_now(signum)

    async def _wait(self) -> None:
        if self._wait_s:
            log.info(
                "leaving; new connections are accepted for another %g s", self._wait_s, extra={"event": "drain.waiting"}
            )
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wait_s):
                await self._hurried.wait()

    async def _tell(self) -> None:
        sockets = list(self._server.shared.sockets)
        self._pace = pace = Pace(sockets, self._over_s, self._server.on_goodbye)
        pace.is_hurried = self._hurried.is_set()
        log.info("draining %d connections, over %.1f s", len(sockets), pace.lasts_s, extra={"event": "drain.started"})
        await pace.run()

    async def _finish(self) -> None:
        """Wait for close handshakes, handlers and buffers; cut what is left in the end."""
        server, loop = self._server, asyncio.get_running_loop()
        began = loop.time()
        # A streamed response (SSE) ends only when its application is told; a short one gets half the time for itself.
        if not await self._quiet(began, 0.5):
            server.disconnect_streams()
            await self._quiet(began, 1.0)
        await _cancel(server.running_applications())

    async def _quiet(self, began: float, part: float) -> bool:
        """Wait until no socket is left, no application runs and nothing waits to be written (trap 38)."""
        server, loop = self._server, asyncio.get_running_loop()
        await asyncio.sleep(POLL_S)  # whoever was accepted last has a request on its way
        while server.shared.sockets or server.running_applications() or server.has_unwritten():
            grace_s = min(self._grace_s, CLOSE_TIMEOUT_S) if self._hurried.is_set() else self._grace_s
            if loop.time() >= began + part * grace_s:
                return False
            await asyncio.sleep(POLL_S)
        return True


async def _stop_listening(server: Server) -> None:
    for port in server.ports:
        _accept_waiting(port)
        stopped = port.stopListening()
        if stopped is not None:
            await stopped.asFuture(asyncio.get_running_loop())
    server.ports.clear()


def _accept_waiting(port: Any) -> None:
    """Accept who has connected and was not accepted yet: the kernel would reset them, requests and all."""
    ready = select.poll()
    ready.register(port.fileno(), select.POLLIN)
    for _ in range(ACCEPTS_MAX):
        if not ready.poll(0):
            break
        port.doRead()


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
        log.exception("a step of the shutdown failed", extra={"event": "shutdown_step.failed"})


def _call(function: Callable[[], object]) -> None:
    try:
        function()
    except Exception:  # the rest of the shutdown goes on
        log.exception("a step of the shutdown failed", extra={"event": "shutdown_step.failed"})
