"""Why connections are lost: reasons with a stable name, counted in one place (``Shared.lost``)."""

from __future__ import annotations

from enum import StrEnum


class Lost(StrEnum):
    """Why the server ends a connection that would have gone on. The values are labels of a metric and never change."""

    SLOW = "slow"
    """More waits for it than one connection may hold, or it takes nothing for too long."""

    PROCESS_FULL = "process_full"
    """More waits for all connections than the process may hold, and this is one of those with most."""

    REPLY_STALLED = "reply_stalled"
    """It takes nothing of a large reply."""

    GREEDY = "greedy"
    """It asks for more large replies than may wait."""

    FLOOD = "flood"
    """It sends more than it may: before the handshake's end, behind a stream's request, or control frames."""

    SILENT = "silent"
    """No answer to a ping."""

    HANDSHAKE_LATE = "handshake_late"
    """Neither a request's head nor the application's answer to it came in time."""

    END_NOT_TAKEN = "end_not_taken"
    """It was told of the end, and neither took that nor hung up."""

    SEND_FAILED = "send_failed"
    """The socket says so: a peer that has reset the connection, mostly."""

    SESSION = "session"
    """Its session gave it up."""
