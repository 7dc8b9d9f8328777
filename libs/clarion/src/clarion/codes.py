"""Every code that a client can be given, and what a client does on it.

Source: docs/protocol.md, "Codes"; RFC 6455 section 7.4 for 1000 to 1015.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ErrorCode(IntEnum):
    """Codes of an error reply; the connection stays. Temporary ones may be retried as they are."""

    INTERNAL = 100
    UNAUTHORIZED = 101
    UNKNOWN_CHANNEL = 102
    PERMISSION_DENIED = 103
    METHOD_NOT_FOUND = 104
    ALREADY_SUBSCRIBED = 105
    LIMIT_EXCEEDED = 106
    BAD_REQUEST = 107
    NOT_AVAILABLE = 108
    TOKEN_EXPIRED = 109
    EXPIRED = 110
    TOO_MANY_REQUESTS = 111
    UNRECOVERABLE_POSITION = 112
    CONCURRENT_PAGINATION = 113


class UnsubscribeCode(IntEnum):
    """Codes of an unsubscribe push; the connection stays. Under 2500 the client stays unsubscribed, from 2500 on it
    subscribes again by itself, with its position if it has one.
    """

    CLIENT = 0  # never on the wire: the client asked for it
    SERVER = 2000  # the server API, or a token that no longer holds the channel: ask the application
    INSUFFICIENT_STATE = 2500  # a gap that the stream no longer fills: recover, or be told that it failed
    EXPIRED = 2501  # the subscription's token ran out: fetch a new one first
    STATE_INVALIDATED = 2502  # drop the kept subscription token, fetch a new one


class DisconnectCode(IntEnum):
    """Close codes of the client protocol; as a reason they carry :attr:`reason`.

    3000 to 3499: the client reconnects, after a random wait that grows. 3500 to 3999: it stops, because the same
    connect would end the same way; the application may connect anew. 1000 and other codes below 3000 of
    :class:`CloseCode`: it reconnects, except on 1009 (a frame over the limit), which is terminal for an SDK.
    """

    CONNECTION_CLOSED = 3000  # the client closed; never sent to it
    SHUTDOWN = 3001  # this gateway stops: reconnect to another one
    SERVER_ERROR = 3004  # a defect; it has been logged
    EXPIRED = 3005  # the connection's token ran out and was not refreshed: fetch a new one first
    SUBSCRIPTION_EXPIRED = 3006  # the same of a server-side subscription
    SLOW = 3008  # more waited for this client than its queue may hold: reconnect and recover
    WRITE_ERROR = 3009
    INSUFFICIENT_STATE = 3010  # a server-side subscription has a gap that the stream no longer fills
    FORCE_RECONNECT = 3011
    NO_PONG = 3012
    TOO_MANY_REQUESTS = 3013
    STATE_INVALIDATED = 3014  # drop kept tokens, fetch new ones
    INVALID_TOKEN = 3500
    BAD_REQUEST = 3501  # a frame that is not the protocol: a defect of the client
    STALE = 3502  # no connect command came in time
    FORCE_DISCONNECT = 3503  # the server API
    CONNECTION_LIMIT = 3504  # this user has too many connections
    CHANNEL_LIMIT = 3505  # too many subscriptions at once
    INAPPROPRIATE_PROTOCOL = 3506  # e.g. a binary frame where JSON was agreed on
    PERMISSION_DENIED = 3507
    NOT_AVAILABLE = 3508
    TOO_MANY_ERRORS = 3509

    @property
    def reason(self) -> str:
        """The reason text of the close frame, as SDKs show it to the application."""
        return _DISCONNECT_REASONS.get(self, self.name.lower().replace("_", " "))

    @property
    def is_terminal(self) -> bool:
        """Whether the client stays away."""
        return self >= DisconnectCode.INVALID_TOKEN


_DISCONNECT_REASONS: Final = {
    DisconnectCode.SERVER_ERROR: "internal server error",
    DisconnectCode.EXPIRED: "connection expired",
}


class CloseCode(IntEnum):
    """WebSocket close codes of RFC 6455 that the server sends by itself."""

    NORMAL = 1000  # the application returned; the client decides
    PROTOCOL_ERROR = 1002  # the client broke RFC 6455
    NO_STATUS = 1005  # never on the wire: the peer's Close frame held no code
    ABNORMAL = 1006  # never on the wire: the connection was lost
    INVALID_DATA = 1007  # a text message that is not UTF-8
    POLICY = 1008
    TOO_BIG = 1009  # a message over the limit
    INTERNAL_ERROR = 1011  # the application raised
    SERVICE_RESTART = 1012  # drain: reconnect, after a random wait
    TRY_LATER = 1013


class RoomCloseCode(IntEnum):
    """Close codes of the plain rooms ``/ws/<channel>/``, beside 1009 and 1012 of :class:`CloseCode`.

    A client comes back after 4408, 4410 and 4429 (and 1012, and a lost connection); it stops on the others, since the
    same call would be refused again.
    """

    NAME_INVALID = 4400  # also a bad ``since`` or ``epoch``
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    NAMESPACE_UNKNOWN = 4404
    SLOW = 4408
    POSITION_LOST = 4410  # its place in the history is gone: reload, then join without ``since``
    FLOOD = 4429  # it sent too much: come back after a wait
