"""An ASGI server for any Channels project, in daphne's place: ``python -m clarion.server mysite.asgi:application``.

Daphne's ``Server`` on uvloop, its HTTP half as it is, with a WebSocket half that costs a fraction. An application may
detach from a WebSocket and from an HTTP response: see :class:`Session` and docs/explanation/server.md.
"""

from __future__ import annotations

from clarion.server import reactor as _reactor

_reactor.install()  # before anything below imports Twisted's reactor

from clarion.server.connection import Connection  # noqa: E402
from clarion.server.deflate import Deflate  # noqa: E402
from clarion.server.drain import DrainUnderWay  # noqa: E402
from clarion.server.frames import binary_frame, chunk, text_frame  # noqa: E402
from clarion.server.lifespan import StartupFailed  # noqa: E402
from clarion.server.losses import Lost  # noqa: E402
from clarion.server.reactor import ReactorUnsuitable  # noqa: E402
from clarion.server.server import Server  # noqa: E402
from clarion.server.session import Session, StreamSession  # noqa: E402
from clarion.server.stream import HttpStream  # noqa: E402

__all__ = [
    "Connection",
    "Deflate",
    "DrainUnderWay",
    "HttpStream",
    "Lost",
    "ReactorUnsuitable",
    "Server",
    "Session",
    "StartupFailed",
    "StreamSession",
    "binary_frame",
    "chunk",
    "text_frame",
]
