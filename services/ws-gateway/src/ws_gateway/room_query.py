"""What a plain room's URL asks for, beside the channel and the token.

Source: docs/protocol.md, "Plain rooms".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from clarion.errors import RequestInvalid

OFFSET_MAX_DIGITS: Final = 19
"""Every number of so many digits is below 2^64, the end of what Redis takes as the id of a stream's entry."""

EPOCH_MAX_CHARS: Final = 64


@dataclass(frozen=True, slots=True)
class RoomQuery:
    """The query of a handshake.

    Attributes:
        since: the offset of the last publication that the client has; None: it starts from now on.
        epoch: the stream's that the offset is of; "" is any.
        hello: the first frame is to say where the client is.
        envelope: each message is to come with its place in the stream.
    """

    since: int | None = None
    epoch: str = ""
    hello: bool = False
    envelope: bool = False


def room_query(parameters: dict[str, str]) -> RoomQuery:
    """Read a query's parameters; those that are not known are not looked at.

    Raises:
        RequestInvalid: close code 4400; the text says which parameter is wrong.
    """
    epoch = parameters.get("epoch", "")
    if len(epoch) > EPOCH_MAX_CHARS:
        raise RequestInvalid(f"epoch has at most {EPOCH_MAX_CHARS} characters")
    return RoomQuery(
        since=_offset(parameters["since"]) if "since" in parameters else None,
        epoch=epoch,
        hello=parameters.get("hello") == "1",
        envelope=parameters.get("envelope") == "1",
    )


def _offset(text: str) -> int:
    # isdigit alone takes other scripts' digits, and int() takes spaces and underscores.
    if not (text.isascii() and text.isdigit() and len(text) <= OFFSET_MAX_DIGITS):
        raise RequestInvalid(f"since is an offset: a number of at most {OFFSET_MAX_DIGITS} digits")
    return int(text)
