"""What a session wants done: its driver does it, and calls the session back with the result.

Each effect of a command carries the command's id; the callback is named in its docstring.

Source: ADR-0007.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Raw, Struct

from clarion.tokens import KeyNotHere
from clarion.values import JSON
from ws_gateway.protocol.commands import Command
from ws_gateway.protocol.replies import Reply
from ws_gateway.protocol.subscriptions import Subscription


class Close(Struct, frozen=True):
    """End the connection with a code; nothing comes after this."""

    code: int
    reason: str
    is_terminal: bool


class FetchKeys(Struct, frozen=True):
    """Fetch the key that a token names: :meth:`Session.keys_fetched`."""

    missing: KeyNotHere
    command: Command


class Identify(Struct, frozen=True):
    """Find the user of the session cookie: :meth:`Session.identified`."""

    command: Command


class Join(Struct, frozen=True):
    """Make the connection a member of a channel: :meth:`Session.joined`, or :meth:`Session.join_failed`.

    Attributes:
        id: the subscribe command's; 0 for a server-side subscription.
        since, epoch: the position to recover from; None: from now on.
        data: any JSON value for the client, in the result.
    """

    id: int
    channel: str
    subscription: Subscription
    since: int | None = None
    epoch: str = ""
    data: JSON = None


class Leave(Struct, frozen=True):
    """Take the connection out of a channel."""

    channel: str
    subscription: Subscription


class Deliver(Struct, frozen=True):
    """Send what was recovered for a subscription that the server has just made: encoded publications, in order."""

    channel: str
    publications: list[Raw]


class Publish(Struct, frozen=True):
    """Publish, in the order asked for: :meth:`Session.published`."""

    id: int
    channel: str
    data: JSON


class ReadHistory(Struct, frozen=True):
    """Read a stream: :meth:`Session.history_read`. ``limit`` 0 is the position only."""

    id: int
    channel: str
    since: int | None
    epoch: str
    limit: int
    reverse: bool


class ReadPresence(Struct, frozen=True):
    """Ask who is there: :meth:`Session.presence_read`."""

    id: int
    channel: str
    is_stats: bool


class Call(Struct, frozen=True):
    """Call a function: :meth:`Session.called`."""

    id: int
    method: str
    data: bytes


Effect: TypeAlias = Close | FetchKeys | Identify | Join | Leave | Deliver | Publish | ReadHistory | ReadPresence | Call
Out: TypeAlias = Reply | Effect
