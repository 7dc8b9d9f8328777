"""What the server API answers with: one struct a method, its fields those of Centrifugo.

Source: docs/reference/server-api.md.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from clarion.errors import ClarionError


class Error(Struct):
    """Why a call failed.

    Attributes:
        code: a protocol error number (docs/protocol.md, "Client protocol codes").
    """

    code: int
    message: str


def error_of(exc: ClarionError) -> Error:
    """What a caller is told of an error."""
    return Error(int(exc.protocol_code), exc.detail)


class Done(Struct):
    """It was done; there is nothing to say of it."""


class PublishResult(Struct, omit_defaults=True):
    """Where the publication is kept; empty if it is not."""

    offset: int = 0
    epoch: str = ""


class PublishResponse(Struct, omit_defaults=True):
    """What became of one channel of a broadcast."""

    result: PublishResult | None = None
    error: Error | None = None


class BroadcastResult(Struct):
    """One response a channel, in their order."""

    responses: list[PublishResponse]


class ClientInfo(Struct, omit_defaults=True):
    """One connection, as others see it."""

    client: str
    user: str
    conn_info: Any = None
    chan_info: Any = None


class PresenceResult(Struct):
    """Who is in a channel, by client id."""

    presence: dict[str, ClientInfo]


class PresenceStatsResult(Struct):
    """How many are in a channel: a user with three tabs is one user and three clients."""

    num_clients: int
    num_users: int


class Publication(Struct, omit_defaults=True):
    """One entry of a stream."""

    data: Any
    offset: int
    tags: dict[str, str] | None = None
    info: ClientInfo | None = None


class HistoryResult(Struct):
    """A part of a stream, and its top."""

    publications: list[Publication]
    offset: int
    epoch: str


class ChannelInfo(Struct):
    """One channel with subscribers."""

    num_clients: int


class ChannelsResult(Struct):
    """Every channel with subscribers."""

    channels: dict[str, ChannelInfo]


class Node(Struct):
    """One live gateway; ``uptime`` in seconds."""

    uid: str
    name: str
    version: str = ""
    num_clients: int = 0
    num_subs: int = 0
    num_users: int = 0
    num_channels: int = 0
    uptime: int = 0


class InfoResult(Struct):
    """Every live gateway."""

    nodes: list[Node]
