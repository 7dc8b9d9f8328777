"""Why connections are not opened: reasons with a stable name, counted in one place (``Shared.refusals``)."""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """Why the server does not open a connection that asked for it. The values are labels of a metric."""

    TOO_MANY_CONNECTIONS = "too_many_connections"
    """The cap is reached: 503."""

    DRAINING = "draining"
    """The server is about to leave: 503."""

    MALFORMED = "malformed"
    """No acceptable opening handshake: 400, 405, 426, 431 and such."""

    NO_ANSWER = "no_answer"
    """The application did not answer in time: 403, as daphne does. Also counted as lost, as a late handshake."""

    DENIED = "denied"
    """The application refused: 403, or an answer of its own."""

    FAILED = "failed"
    """The application raised, or returned without an answer: 500."""
