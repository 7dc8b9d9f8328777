"""A connection as its session sees it, and the session's end: told once, whatever happens.

Its two kinds are :class:`clarion.server.websocket.WebSocket` and :class:`clarion.server.stream.HttpStream`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from websockets.frames import CloseCode

from clarion.server.losses import Lost
from clarion.server.writer import IS_SLOW, SAYS_SO, Writer, call_soon

if TYPE_CHECKING:
    from collections.abc import Callable

    from clarion.server.limits import Shared
    from clarion.server.session import StreamSession
    from clarion.server.wheel import Sleeper

log = logging.getLogger("clarion.server")

CLOSE_TIMEOUT_S = 5.0


class Driver(Protocol):
    """What runs the application until it returns; see :class:`clarion.server.asgi.Application`."""

    def ended(self, code: int, reason: str) -> None:
        """The socket is gone; called once."""


class Connection(Writer):
    """One socket and its session.

    Attributes:
        client: address and port of the client (behind a proxy: as the proxy's header says), None on a unix socket.
        due: the tick of the wheel at which something is to be done for it.
    """

    __slots__ = ("__weakref__", "_driver", "_ended", "_opened_at", "_session", "access", "client", "due")

    def __init__(self, shared: Shared, client: tuple[str, int] | None) -> None:
        super().__init__(shared)
        shared.remembered += 1
        self.client = client
        self.due = 0
        self.access: Callable[[str], object] | None = None  # writes a line of the access log
        self._driver: Driver | None = None
        self._session: StreamSession | None = None
        self._ended = False  # session and driver know, or will know from the event loop
        self._opened_at = shared.wheel.now

    def __del__(self) -> None:
        self._shared.remembered -= 1

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye; what was written before goes out before it.

        The peer has five seconds to take it and to hang up. A second call does nothing. ``session.closed`` follows
        from the event loop.
        """
        raise NotImplementedError

    def fail(self, code: int, reason: str = "") -> None:
        """End it because of a fault: the session's, or the peer's."""
        raise NotImplementedError

    def drain(self, *, is_last: bool) -> bool:
        """Let the session say goodbye (its optional ``drain()``), and close with 1012 what it leaves open.

        Args:
            is_last: do not wait for answers that the session still owes (its optional ``drain_wait()``).

        Returns:
            Whether the client was told; if not, ask again soon.
        """
        session = self._session
        try:
            if not is_last and (wait := getattr(session, "drain_wait", None)) is not None and wait():
                return False
            if (goodbye := getattr(session, "drain", None)) is not None:
                goodbye()
        except Exception:  # the client is to be told all the same
            log.exception("a session failed on the drain", extra={"event": "session.failed"})
        self.close(CloseCode.SERVICE_RESTART, "the server is restarting")
        return True

    def say_slow(self) -> None:
        """Let the session say goodbye (its optional ``slow()``), and close with 1013 what it leaves open.

        It goes out behind what waits: who reads at all learns why. The rest is reset after the five seconds of every
        end, and learns it by recovery.
        """
        if self._transport is None:
            return
        self._slow = SAYS_SO
        goodbye = getattr(self._session, "slow", None)
        if goodbye is not None:
            try:
                goodbye()
            except Exception:  # the client is to be told all the same
                log.exception("a session failed on its slow()", extra={"event": "session.failed"})
        self.close(CloseCode.TRY_AGAIN_LATER, "it reads too slowly")
        self._slow = IS_SLOW

    def schedule(self, timer: Sleeper, delay_s: float) -> None:
        """Call ``timer.wake()`` from the event loop after a delay, in place of what was scheduled for it before.

        It costs no timer and no task: all connections share one wheel, which turns four times a second; it is never
        early, and late by up to half a second. Nothing is woken after the connection's end. An exception in it is
        logged and closes this connection alone, with 1011. For many connections at once, spread the first delay.

        Args:
            timer: anything hashable with ``wake()`` and an integer attribute ``due``, at first 0; the session itself,
                say.
        """
        if not self._ended:
            self._shared.wheel.schedule(timer, delay_s, self)

    def unschedule(self, timer: Sleeper) -> None:
        """Forget a timer. At its end a session forgets its own, or the wheel keeps them until their time."""
        self._shared.wheel.cancel(timer)

    @property
    def is_ended(self) -> bool:
        """The end was seen or sent, or the socket is lost."""
        return self._ended

    def tell_lost(self, session: StreamSession, code: int = CloseCode.ABNORMAL_CLOSURE) -> None:
        """Call ``session.closed`` from the event loop: there was no socket to give to it (trap 1)."""
        call_soon(self._shared, _tell, session, code)

    def application_returned(self) -> None:
        """Keep nothing of the application."""
        self._driver = None

    # Twisted

    def makeConnection(self, transport: Any) -> None:  # noqa: N802
        """Twisted's IProtocol; the transport is known already."""

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take bytes from the socket."""
        raise NotImplementedError

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        """The socket is gone: tell whoever does not know yet, keep nothing."""
        self._release()
        shared = self._shared
        shared.sockets.discard(self)
        shared.wheel.cancel(self)
        self._end(CloseCode.ABNORMAL_CLOSURE)

    # Time

    def wake(self) -> None:
        """Do what is due on the wheel."""
        if self._ended and self._backlog is not None:
            # A large reply stands before the end, and goes out as long as it moves: the backlog sees to that.
            self._shared.wheel.schedule(self, CLOSE_TIMEOUT_S)
        elif self._ended:
            # A client that does not read keeps a closed connection for ever (trap 5).
            self.lose(Lost.END_NOT_TAKEN)
        else:
            self._check()

    def _check(self) -> None:
        """Do what is due while the connection lives."""
        raise NotImplementedError

    def _lifetime_left(self, limit_s: float | None) -> float | None:
        return None if limit_s is None else self._opened_at + limit_s - self._shared.wheel.now

    # Inside

    def _end(self, code: int, reason: str = "", *, later: bool = False) -> None:
        """Tell session and driver, once. Later, if a hub may be iterating over its members now (trap 10)."""
        if self._ended:
            return
        self._ended = True
        session, self._session = self._session, None
        if later:
            call_soon(self._shared, _tell, session, code, self._driver, reason)
        else:
            _tell(session, code, self._driver, reason)


def _tell(session: StreamSession | None, code: int, driver: Driver | None = None, reason: str = "") -> None:
    if session is not None:
        try:
            session.closed(code)
        except Exception:  # its fault must not keep the driver, or the next connection, from knowing
            log.exception("a session failed on its end", extra={"event": "session.failed"})
    if driver is not None:
        driver.ended(code, reason)
