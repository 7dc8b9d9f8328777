"""What the endpoints and the sessions count, as plain numbers: written by the event loop, read by any thread.

Every key comes from a fixed set: protocols, methods, codes of our own. What comes from outside (a code that an RPC
function or a caller of the server API makes up) is cut off at :data:`KINDS_MAX` kinds.

Source: docs/reference/metrics.md.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

KINDS_MAX: Final = 100
OTHER: Final = "other"

ROOM: Final = ("room", "json")
CONSUMER: Final = ("consumer", "")
PROTOCOLS: Final = (
    ROOM,
    ("websocket", "json"),
    ("websocket", "protobuf"),
    ("http_stream", "json"),
    ("sse", "json"),
)
"""Kinds of connections: a protocol and its encoding."""


class Counts:
    """Of one process.

    Attributes:
        connections: open now, by kind. opened: ever.
        received: messages of clients, by protocol.
        commands: of the client protocol, by the request's type.
        errors: answers to clients that said what was wrong, by code.
        disconnects: connections that the gateway closed, by close code.
        refused: clients that were told why they may not connect, by the error's code.
        published: publications of clients that Redis has taken. unpublished: those that failed.
    """

    __slots__ = (
        "commands", "connections", "disconnects", "errors", "opened", "published", "received", "refused", "unpublished",
    )  # fmt: skip

    def __init__(self) -> None:
        self.connections: dict[tuple[str, str], int] = dict.fromkeys(PROTOCOLS, 0)
        self.opened: dict[tuple[str, str], int] = dict.fromkeys(PROTOCOLS, 0)
        self.received: Counter[str] = Counter({protocol: 0 for protocol, _ in PROTOCOLS})
        self.commands: Counter[type] = Counter()
        self.errors: Counter[str] = Counter()
        self.disconnects: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.published = 0
        self.unpublished = 0

    def connection_opened(self, kind: tuple[str, str]) -> None:
        """Count a connection whose handshake has been answered."""
        self.connections[kind] += 1
        self.opened[kind] += 1

    def connection_closed(self, kind: tuple[str, str]) -> None:
        """The same one is gone."""
        self.connections[kind] -= 1


def count(counter: Counter[str], key: object) -> None:
    """Count by a key that may come from outside."""
    text = str(key)
    counter[text if text in counter or len(counter) < KINDS_MAX else OTHER] += 1
