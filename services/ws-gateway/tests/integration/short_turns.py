"""The gateway with turns of three members, batches of 1 KB and sockets that take 4 KiB: what only load brings else."""

from __future__ import annotations

import socket
from typing import Any

import structlog

from clarion.server.writer import Writer
from ws_gateway import fanout

log = structlog.stdlib.get_logger("short_turns")

fanout.TURN_COST = 3 * fanout.WRITE_COST  # type: ignore[misc]
fanout.BATCH_BYTES = 1_000  # type: ignore[misc]
fanout.GROUP_WAITING_MAX_BYTES = 100_000  # type: ignore[misc]

_attach = Writer._attach


def _attach_small(self: Writer, transport: Any) -> None:
    _attach(self, transport)
    transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)


_queue = Writer._queue


def _queue_told(self: Writer, data: bytes) -> None:
    log.info("socket.full", waiting_bytes=len(data))
    _queue(self, data)


Writer._attach = _attach_small  # type: ignore[method-assign]
Writer._queue = _queue_told  # type: ignore[method-assign]

from ws_gateway.asgi import application  # noqa: E402, F401 - with these numbers
