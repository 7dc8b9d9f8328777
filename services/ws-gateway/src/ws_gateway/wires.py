"""Wires: in which bytes a channel's events go to a member.

Events are encoded once per wire in use, whatever the number of members: a wire is shared by all
members that receive the same bytes, and the hub keeps a channel's members by wire.

Source: ADR-0002, ADR-0006.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from clarion.publications import Publication
from clarion.server import Deflate, text_frame
from clarion.values import json_encode
from ws_gateway.events import Event

if TYPE_CHECKING:
    from ws_gateway.groups import Group


class Member(Protocol):
    """Who receives a channel's events: a connection, or a session that writes to one."""

    def write(self, frames: bytes) -> None:
        """Write ready bytes, behind all that was written before; it never raises for a lost client."""


class PositionedMember(Member, Protocol):
    """A member that counts offsets, and must be told when events were lost to it."""

    def position_lost(self, channel: str) -> None:
        """The channel's events do not go on where they stopped; the member has been taken out of the channel."""


class Wire(Protocol):
    """One form of a channel's events on the wire.

    Attributes:
        is_positioned: its members count offsets (:class:`PositionedMember`).
        is_delta: a publication is written as what changed since the last one.
        successor: the wire on which members go on after their first publication, or None.
    """

    is_positioned: bool
    is_delta: bool
    successor: Wire | None

    def encode(self, group: Group, events: list[Event]) -> bytes:
        """Encode and frame events, in their order; b"" if this wire's members are to receive none of them."""


class PlainWire:
    """A plain room's: a text frame of each publication's data as JSON."""

    is_delta = False
    successor: Wire | None = None

    def __init__(self, *, is_positioned: bool, framing: Callable[[bytes], bytes] = text_frame) -> None:
        self.is_positioned = is_positioned
        self._framing = framing

    def frame(self, publication: Publication) -> bytes:
        """Frame one publication."""
        return self._framing(json_encode(publication.data))

    def encode(self, group: Group, events: list[Event]) -> bytes:
        """See :class:`Wire`."""
        frames = [self.frame(event) for event in events if type(event) is Publication]
        return frames[0] if len(frames) == 1 else b"".join(frames)


class EnvelopeWire(PlainWire):
    """A plain room's with ``?envelope=1``: the data with its place in the stream, its author and its time."""

    def frame(self, publication: Publication) -> bytes:
        """Frame one publication."""
        return self._framing(json_encode(envelope(publication)))


def envelope(publication: Publication) -> dict[str, Any]:
    """``{"data", "offset"?, "epoch"?, "user"?, "time"}``; time in milliseconds since 1970.

    Offset and epoch are of a publication that is in the history, the user of one that a signed-in client sent.
    """
    wrapped: dict[str, Any] = {"data": publication.data}
    if publication.offset:
        wrapped["offset"] = publication.offset
        wrapped["epoch"] = publication.epoch
    if publication.info and publication.info.get("user"):
        wrapped["user"] = publication.info["user"]
    wrapped["time"] = publication.time or int(time.time() * 1000)
    return wrapped


PLAIN: Final = PlainWire(is_positioned=False)
POSITIONED_PLAIN: Final = PlainWire(is_positioned=True)
ENVELOPE: Final = EnvelopeWire(is_positioned=False)
POSITIONED_ENVELOPE: Final = EnvelopeWire(is_positioned=True)


@cache
def room_wire(*, envelope: bool, is_positioned: bool, deflate: Deflate | None = None) -> PlainWire:
    """The wire of a plain room's member.

    Args:
        envelope: it asked for ``?envelope=1``.
        is_positioned: it asked for ``?since=``, so a lost position must be told; else it goes on live.
        deflate: it has agreed to compression; a wire of its own, so what members share is compressed once.
    """
    if deflate is not None:
        return (EnvelopeWire if envelope else PlainWire)(is_positioned=is_positioned, framing=deflate.text_frame)
    if envelope:
        return POSITIONED_ENVELOPE if is_positioned else ENVELOPE
    return POSITIONED_PLAIN if is_positioned else PLAIN
