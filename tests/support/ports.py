"""TCP ports on loopback."""

from __future__ import annotations

import socket

from deploy.dev.ports import pick_free


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on, below those of outgoing connections.

    So a server that is stopped and started again finds its port free, however many clients there were meanwhile.
    """
    return pick_free()


def is_listening(port: int) -> bool:
    """Tell whether something accepts connections on 127.0.0.1:port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
