"""Endpoint descriptions to listening endpoints, with what their strings cannot say (trap 34)."""

from __future__ import annotations

import re
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString

_WITH_BACKLOG = ("tcp", "tcp6", "ssl", "unix")


def endpoint(description: str, backlog: int, *, reuse_port: bool) -> Any:
    """Return the endpoint for a description of Twisted's, e.g. ``tcp:port=8000:interface=127.0.0.1``.

    Where it names no backlog, ours holds: ``--port`` alone would give 50. A ``fd:`` takes the family that its
    socket has: daphne takes every one for IPv4.

    Raises:
        ValueError: the description is malformed, or ``reuse_port`` is asked for something else than TCP.
    """
    kind, *parts = re.split(r"(?<!\\):", description)
    options = dict(part.split("=", 1) for part in parts if "=" in part)
    if kind == "fd":
        return _adopted(int(options.get("fileno") or parts[0]))
    if reuse_port:
        if kind != "tcp":
            raise ValueError(f"reuse_port is for TCP endpoints, not {description!r}")
        port = int(options.get("port") or parts[0])
        return _adopted(_bound(port, options.get("interface", "").replace("\\:", ":"), backlog))
    if kind in _WITH_BACKLOG and "backlog" not in options:
        description += f":backlog={backlog}"
    return serverFromString(reactor, description)


def _adopted(fileno: int) -> AdoptedStreamServerEndpoint:
    known = socket.socket(fileno=fileno)
    family = known.family
    known.detach()
    return AdoptedStreamServerEndpoint(reactor, fileno, family)


def _bound(port: int, host: str, backlog: int) -> int:
    """Bind and listen with SO_REUSEPORT, which no endpoint string can say."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener.detach()
