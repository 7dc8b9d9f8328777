"""What the server says: replies to commands, and pushes. Zero values are left out.

A reply is ``{"id": n, "<method>": {…}}`` or ``{"id": n, "error": {…}}``; a push is
``{"push": {"channel", "<kind>": {…}}}``; ``{}`` is a ping. ``data`` and the infos are raw JSON.

Source: docs/protocol.md, "Replies and pushes".
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Raw, Struct

from ws_gateway.protocol.commands import NO_DATA


class Error(Struct, omit_defaults=True):
    """Why a command failed; the connection stays. A temporary error may be retried as it is."""

    code: int = 0
    message: str = ""
    temporary: bool = False


class ClientInfo(Struct, omit_defaults=True):
    """Who a connection is, as others see it."""

    user: str = ""
    client: str = ""
    conn_info: Raw = NO_DATA
    chan_info: Raw = NO_DATA


class Publication(Struct, omit_defaults=True):
    """One publication, as clients receive it."""

    data: Raw
    info: ClientInfo | None = None
    offset: int = 0
    tags: dict[str, str] = {}
    delta: bool = False
    time: int = 0


class SubscribeResult(Struct, omit_defaults=True):
    """A subscription stands. ``publications`` are ready bytes: they are the same for many clients."""

    expires: bool = False
    ttl: int = 0
    recoverable: bool = False
    epoch: str = ""
    publications: list[Raw] = []
    recovered: bool = False
    offset: int = 0
    positioned: bool = False
    data: Raw = NO_DATA
    was_recovering: bool = False
    delta: bool = False


class ConnectResult(Struct, omit_defaults=True):
    """The connection stands. ``ping`` is the interval in seconds; ``ttl`` the seconds until the token expires."""

    client: str = ""
    version: str = ""
    expires: bool = False
    ttl: int = 0
    data: Raw = NO_DATA
    subs: dict[str, SubscribeResult] = {}
    ping: int = 0
    pong: bool = False
    session: str = ""
    node: str = ""


class RefreshResult(Struct, omit_defaults=True):
    """The connection lives on."""

    client: str = ""
    version: str = ""
    expires: bool = False
    ttl: int = 0


class SubRefreshResult(Struct, omit_defaults=True):
    """The subscription lives on."""

    expires: bool = False
    ttl: int = 0


class UnsubscribeResult(Struct):
    """The client is no longer subscribed."""


class PublishResult(Struct):
    """The publication has been sent, and kept if the channel has a history."""


class PresenceResult(Struct, omit_defaults=True):
    """Who is in a channel, by client id."""

    presence: dict[str, ClientInfo] = {}


class PresenceStatsResult(Struct, omit_defaults=True):
    """How many are in a channel; a user with three tabs is one user and three clients."""

    num_clients: int = 0
    num_users: int = 0


class HistoryResult(Struct, omit_defaults=True):
    """A part of a channel's stream, and its top position."""

    publications: list[Raw] = []
    epoch: str = ""
    offset: int = 0


class PingResult(Struct):
    """The server is here."""


class RPCResult(Struct, omit_defaults=True):
    """What the function returned."""

    data: Raw = NO_DATA


Result: TypeAlias = (
    ConnectResult
    | SubscribeResult
    | UnsubscribeResult
    | PublishResult
    | PresenceResult
    | PresenceStatsResult
    | HistoryResult
    | PingResult
    | RPCResult
    | RefreshResult
    | SubRefreshResult
)


class Join(Struct, omit_defaults=True):
    """A client has subscribed."""

    info: ClientInfo


class Leave(Struct, omit_defaults=True):
    """A client is gone."""

    info: ClientInfo


class Unsubscribe(Struct, omit_defaults=True):
    """The server has ended a subscription; from 2500 on the client subscribes again."""

    code: int = 0
    reason: str = ""


class Subscribe(Struct, omit_defaults=True):
    """The server has made a subscription."""

    recoverable: bool = False
    epoch: str = ""
    offset: int = 0
    positioned: bool = False
    data: Raw = NO_DATA


class Message(Struct, omit_defaults=True):
    """A message to this connection alone."""

    data: Raw = NO_DATA


class Disconnect(Struct, omit_defaults=True):
    """The server is about to close the connection."""

    code: int = 0
    reason: str = ""
    reconnect: bool = False


class Refresh(Struct, omit_defaults=True):
    """The connection's expiry has changed."""

    expires: bool = False
    ttl: int = 0


class Push(Struct, omit_defaults=True):
    """What the server says by itself."""

    channel: str = ""
    pub: Publication | None = None
    join: Join | None = None
    leave: Leave | None = None
    unsubscribe: Unsubscribe | None = None
    message: Message | None = None
    subscribe: Subscribe | None = None
    disconnect: Disconnect | None = None
    refresh: Refresh | None = None


class Reply(Struct, omit_defaults=True):
    """A reply (``id`` and one result or an error), a push, or, empty, a ping."""

    id: int = 0
    error: Error | None = None
    push: Push | None = None
    connect: ConnectResult | None = None
    subscribe: SubscribeResult | None = None
    unsubscribe: UnsubscribeResult | None = None
    publish: PublishResult | None = None
    presence: PresenceResult | None = None
    presence_stats: PresenceStatsResult | None = None
    history: HistoryResult | None = None
    ping: PingResult | None = None
    rpc: RPCResult | None = None
    refresh: RefreshResult | None = None
    sub_refresh: SubRefreshResult | None = None
