"""New connections in line: a few are let in each turn of the loop, first come first served.

A storm of reconnects is thousands of handshakes at once. Taken as they come, hundreds of them and of their applications
ran in one turn, and a message to a member of a room waited 325 ms (trap 52). While nobody is in line, nobody waits.
"""

from __future__ import annotations

import contextvars
import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger("clarion.server")

PER_TURN: Final = 16
"""About 3 ms: a handshake, its application and its answer take some 200 us."""


class Guest(Protocol):
    """Somebody at the door."""

    def enter(self) -> None:
        """Go on; or do nothing, if the connection has been lost meanwhile."""

    def turn_away(self) -> None:
        """Hang up: :meth:`enter` failed."""


class Doorway:
    """One line. Those who wait have sent their request: who is slow to do so stands in nobody's way."""

    __slots__ = ("_free", "_is_turning", "_line", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._line: deque[Guest] = deque()
        self._free = PER_TURN
        self._is_turning = False

    def __len__(self) -> int:
        return len(self._line)

    def arrive(self, guest: Guest) -> None:
        """Let somebody in now, or when it is their turn."""
        if not self._free or self._line:
            self._line.append(guest)
            return
        self._free -= 1
        self._turn_again()
        _let_in(guest)

    def _turn(self) -> None:
        self._is_turning = False
        self._free = PER_TURN
        while self._line and self._free:
            self._free -= 1
            _let_in(self._line.popleft())
        if self._free < PER_TURN:
            self._turn_again()

    def _turn_again(self) -> None:
        if not self._is_turning:
            self._is_turning = True
            self._loop.call_soon(self._turn, context=contextvars.Context())


def _let_in(guest: Guest) -> None:
    try:
        guest.enter()
    except Exception:  # the next in line is not to blame
        log.exception("a new connection failed", extra={"event": "connection.failed"})
        guest.turn_away()
