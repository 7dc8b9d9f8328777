"""Twisted's transports of accepted connections: they notice a reset on uvloop, and the kernel queues little for them.

libuv stops to watch a socket that has an error, after one call for the bytes before it; Twisted does not know, and
nobody would read the rest or notice the end (trap 9). For a WebSocket that lasted until the next ping, for an HTTP
request for ever.
"""

from __future__ import annotations

from socket import IPPROTO_TCP, SO_ERROR, SOL_SOCKET, TCP_NOTSENT_LOWAT
from typing import Any, Final

from twisted.internet import tcp, unix

UNSENT_BYTES: Final = 128 * 1024
"""How much the kernel takes for a client whose window is full: what Twisted sends at a time, and a batch of a room."""


class _NoticesReset:
    """Watch the socket anew where libuv has stopped to."""

    _is_reading = False

    def startReading(self) -> None:  # noqa: N802
        """Watch the socket; noted, because the reactor cannot be asked cheaply."""
        self._is_reading = True
        super().startReading()  # type: ignore[misc]

    def stopReading(self) -> None:  # noqa: N802
        """Watch it no more."""
        self._is_reading = False
        super().stopReading()  # type: ignore[misc]

    def doRead(self: Any) -> Any:  # noqa: N802
        """Read once; what Twisted returns is why the connection ended, or None."""
        why = super().doRead()  # type: ignore[misc]
        # A protocol that has paused is shown the error when it resumes: the socket is then watched anew anyway.
        if why is None and self.connected and self._is_reading and self.socket.getsockopt(SOL_SOCKET, SO_ERROR):
            self.stopReading()
            self.startReading()
        return why


class TcpTransport(_NoticesReset, tcp.Server):
    """An accepted TCP connection."""


class UnixTransport(_NoticesReset, unix.Server):
    """An accepted connection on a Unix socket."""


def install(port: Any) -> None:
    """Make a listening port use these transports for what it accepts from now on.

    Of what a TCP client has no window for, the kernel would queue 4 MiB (``tcp_wmem``) that no limit of ours knows of:
    a hundred stalled clients held 400 MiB, and their end held the event loop up for 85 ms. What has been sent and not
    acknowledged does not count, so a long way is used as before. Accepted sockets inherit it (trap 57).
    """
    if isinstance(port, unix.Port):
        port.transport = UnixTransport
    elif isinstance(port, tcp.Port):
        port.transport = TcpTransport
        port.socket.setsockopt(IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_BYTES)
