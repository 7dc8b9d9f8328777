"""What a client may say: one struct a command, decoded and typed by msgspec.

A command is ``{"id": n, "<method>": {…}}``; ``{}`` is a pong. Unknown fields are ignored. ``data`` stays raw JSON until
somebody needs its value.

Source: docs/protocol.md, "Commands".
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta, Raw, Struct

Id: TypeAlias = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Offset: TypeAlias = Annotated[int, Meta(ge=0)]

NO_DATA: Final = Raw(b"")


class FilterNode(Struct, omit_defaults=True, gc=True):
    """One node of a tags filter: a comparison of one tag, or a logical operator over other nodes."""

    op: str = ""
    key: str = ""
    cmp: str = ""
    val: str = ""
    vals: list[str] = []
    nodes: list[FilterNode] = []


class SubscribeRequest(Struct, omit_defaults=True):
    """Subscribe to a channel, from a position on if ``recover`` is set."""

    channel: str = ""
    token: str = ""
    recover: bool = False
    epoch: str = ""
    offset: Offset = 0
    data: Raw = NO_DATA
    positioned: bool = False
    recoverable: bool = False
    join_leave: bool = False
    delta: str = ""
    tf: FilterNode | None = None
    flag: int = 0


class ConnectRequest(Struct, omit_defaults=True):
    """The first command: who the client is, and where its server-side subscriptions stood."""

    token: str = ""
    data: Raw = NO_DATA
    subs: dict[str, SubscribeRequest] = {}
    name: str = ""
    version: str = ""
    headers: dict[str, str] = {}
    flag: int = 0


class UnsubscribeRequest(Struct, omit_defaults=True):
    """Leave a channel."""

    channel: str = ""


class PublishRequest(Struct, omit_defaults=True):
    """Publish to a channel."""

    channel: str = ""
    data: Raw = NO_DATA


class PresenceRequest(Struct, omit_defaults=True):
    """Ask who is in a channel."""

    channel: str = ""


class PresenceStatsRequest(Struct, omit_defaults=True):
    """Ask how many are in a channel."""

    channel: str = ""


class StreamPosition(Struct, omit_defaults=True):
    """A place in a channel's stream."""

    offset: Offset = 0
    epoch: str = ""


class HistoryRequest(Struct, omit_defaults=True):
    """Read a channel's stream: ``limit`` 0 asks for the position alone, -1 for all that is allowed."""

    channel: str = ""
    limit: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] = 0
    since: StreamPosition | None = None
    reverse: bool = False


class PingRequest(Struct):
    """Ask for a reply."""


class SendRequest(Struct, omit_defaults=True):
    """A message to the server that has no reply."""

    data: Raw = NO_DATA


class RPCRequest(Struct, omit_defaults=True):
    """Call a function of the server."""

    method: str = ""
    data: Raw = NO_DATA


class RefreshRequest(Struct, omit_defaults=True):
    """Show a new connection token."""

    token: str = ""


class SubRefreshRequest(Struct, omit_defaults=True):
    """Show a new subscription token."""

    channel: str = ""
    token: str = ""


class Command(Struct, omit_defaults=True):
    """One command: an id, and exactly one of the methods."""

    id: Id = 0
    connect: ConnectRequest | None = None
    subscribe: SubscribeRequest | None = None
    unsubscribe: UnsubscribeRequest | None = None
    publish: PublishRequest | None = None
    presence: PresenceRequest | None = None
    presence_stats: PresenceStatsRequest | None = None
    history: HistoryRequest | None = None
    ping: PingRequest | None = None
    send: SendRequest | None = None
    rpc: RPCRequest | None = None
    refresh: RefreshRequest | None = None
    sub_refresh: SubRefreshRequest | None = None


PONG: Final = Command()

Request: TypeAlias = (
    ConnectRequest
    | SubscribeRequest
    | UnsubscribeRequest
    | PublishRequest
    | PresenceRequest
    | PresenceStatsRequest
    | HistoryRequest
    | PingRequest
    | SendRequest
    | RPCRequest
    | RefreshRequest
    | SubRefreshRequest
)

METHODS: Final = tuple(name for name in Command.__struct_fields__ if name != "id")


def request_of(command: Command) -> Request | None:
    """The one request that a command holds, or None if it holds none or several."""
    found = [request for name in METHODS if (request := getattr(command, name)) is not None]
    return found[0] if len(found) == 1 else None
