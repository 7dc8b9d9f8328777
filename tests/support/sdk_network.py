"""The network between an SDK and nginx, which a test can break."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

CLOSE_FRAME: Final = 0x88


class Network:
    """Passes TCP connections on, until it is cut.

    Args:
        port: where to, on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._is_cut = False
        self._drops_upward = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    def cut(self) -> None:
        """Break every connection, and let none come through until :meth:`mend`."""
        with self._lock:
            self._is_cut = True
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _shut(*pair)

    def mend(self) -> None:
        """Let connections through again."""
        self._is_cut = False

    def deafen(self) -> None:
        """From now on drop what clients say, except a connection's first bytes (the HTTP request) and Close frames."""
        self._drops_upward = True

    def say(self, frame: bytes) -> None:
        """Put bytes into what clients say, on every connection; to be used while they are silent."""
        for _, server in list(self._pairs):
            server.sendall(frame)

    def close(self) -> None:
        """End everything."""
        _shut(self._listener)
        self.cut()
        for thread in self._threads:
            thread.join(10)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._to))
            with self._lock:
                if self._is_cut:
                    _shut(client, server)
                    continue
                self._pairs.append((client, server))
            self._start(self._pass_on, client, server, True)
            self._start(self._pass_on, server, client, False)

    def _pass_on(self, source: socket.socket, target: socket.socket, is_upward: bool) -> None:
        is_first = True
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if is_first or not (is_upward and self._drops_upward) or data[0] == CLOSE_FRAME:
                    target.sendall(data)
                is_first = False
        with self._lock:
            self._pairs = [pair for pair in self._pairs if source not in pair]
        _shut(source, target)


def _shut(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


@contextmanager
def network(port: int) -> Iterator[Network]:
    """A network for the length of a ``with`` block."""
    made = Network(port)
    try:
        yield made
    finally:
        made.close()
