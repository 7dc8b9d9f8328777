"""TCP ports on loopback: pick free ones, keep them, tell who holds one."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Collection
from typing import Final

import psutil

PORT_RANGE: Final = range(18_000, 32_000)
"""Below the range of outgoing connections (32768 and up), or one of those could sit on a killed service's port."""


def is_free(port: int) -> bool:
    """Tell whether a server could listen on 127.0.0.1:port now."""
    return not obstacle(port)


def obstacle(port: int) -> str:
    """Say why no server can listen on 127.0.0.1:port now, e.g. ``is taken by nginx (process 4711)``; "" if one can."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(1)
        except PermissionError:
            return "is for root alone"
        except OSError as exc:
            holder = _holder_of(port)
            return f"is taken{f' by {holder}' if holder else ''}" if exc.errno == errno.EADDRINUSE else f"fails: {exc}"
    return ""


def pick_free(taken: Collection[int] = ()) -> int:
    """Pick a free port at random, so that two that start at once rarely pick the same.

    Raises:
        OSError: a thousand tries found none.
    """
    for _ in range(1000):
        port = random.choice(PORT_RANGE)  # noqa: S311 - no secret
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no free port between {PORT_RANGE.start} and {PORT_RANGE.stop}")


def keep_or_pick(names: Collection[str], known: dict[str, int], reserved: int) -> dict[str, int]:
    """Give each name a port: the one it had while that is free, else a new one.

    Args:
        reserved: the port of nginx, never picked.
    """
    ports: dict[str, int] = {}
    for name in names:
        taken = {reserved, *ports.values()}
        port = known.get(name, 0)
        ports[name] = port if port and port not in taken and is_free(port) else pick_free({*taken, *known.values()})
    return ports


def _holder_of(port: int) -> str | None:
    """Name the process that listens on a port, e.g. ``nginx (process 4711)``; None if it cannot be told."""
    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        return None
    return None
