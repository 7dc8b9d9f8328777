"""What all connections of a server share: the loop, the clock, the limits."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from clarion.server.budget import Budget
from clarion.server.wheel import Wheel

if TYPE_CHECKING:
    from clarion.server.asgi import Application
    from clarion.server.connection import Connection
    from clarion.server.deflate import Deflate
    from clarion.server.losses import Lost
    from clarion.server.refusals import Refusal


@dataclass(slots=True, kw_only=True)
class Shared:
    """Limits in bytes and seconds; None means no limit.

    Attributes:
        max_inbound: messages that may wait for an ASGI application.
        connect_timeout_s: how long an application may take to accept, and a client to send its request's head.
        lifetime_s: age at which a socket that an application drives is closed with 1000 (daphne's
            ``websocket_timeout``).
        detached_lifetime_s: the same for a detached session (1012: come back).
        deflate: how messages are compressed; None: not at all.
        sockets: every WebSocket from its request to its end, refused ones excepted, and every HTTP stream. The server
            counts, not middleware: that one returns when a session detaches (trap 42).
        applications: the runs that have not returned.
        remembered: connections in the memory, ended ones too.
        lost: connections that the server has given up, by reason.
        refusals: handshakes that were not answered with 101 (HTTP streams: not begun), by reason.
    """

    loop: asyncio.AbstractEventLoop
    wheel: Wheel
    budget: Budget
    max_message_bytes: int | None
    max_frame_bytes: int | None
    max_queued_bytes: int
    max_large_bytes: int
    max_inbound: int
    connect_timeout_s: float | None
    ping_interval_s: float | None
    ping_timeout_s: float | None
    lifetime_s: float | None
    detached_lifetime_s: float | None
    app_close_timeout_s: float
    deflate: Deflate | None = None
    sockets: set[Connection] = field(default_factory=set)
    applications: set[Application] = field(default_factory=set)
    remembered: int = 0
    lost: Counter[Lost] = field(default_factory=Counter)
    refusals: Counter[Refusal] = field(default_factory=Counter)

    @property
    def undead(self) -> int:
        """Connections that are not open and still in the memory: a few under way, or held by somebody, or garbage."""
        return self.remembered - len(self.sockets)
