"""Every code that a client can be given, and what a client does on it.

Source: docs/protocol.md, "Codes"; RFC 6455 section 7.4 for 1000 to 1015.
"""

from __future__ import annotations

from enum import IntEnum


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

    A client comes back after 4408 (and 1012, and a lost connection); it stops on the others, since the
    same call would be refused again.
    """

    NAME_INVALID = 4400
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    NAMESPACE_UNKNOWN = 4404
    SLOW = 4408
