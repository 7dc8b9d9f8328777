"""One channel's members in this process, and what waits for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from clarion.publications import Publication
from ws_gateway.events import Event
from ws_gateway.recovery import Stream
from ws_gateway.wires import Member, Wire

Write: TypeAlias = Callable[[bytes], None]
Members: TypeAlias = dict[Member, Write]
Round: TypeAlias = tuple[bytes, list[tuple[Member, Write]]]
"""Ready bytes, and the members that they are for."""


class Group:
    """One channel of this process.

    Attributes:
        members: by wire; a wire without members is not in it.
        size: members of all wires.
        holds: joins under way: they keep the subscription though they are no members yet.
        waiting: events that came while a slice was being written, with their size in bytes.
        writing: a round is being written in slices.
        left: who left since that began: the rest of the round is not for them, even if they have come back.
        stream: the channel's place in its stream, or None for a channel without history.
        last: the last publication that was delivered; kept only while a wire needs it (delta).
    """

    __slots__ = (
        "channel", "holds", "last", "left", "members", "name", "redis_name", "size", "stream", "waiting",
        "waiting_bytes", "writing",
    )  # fmt: skip

    def __init__(self, channel: str, redis_name: str, stream: Stream | None) -> None:
        self.channel = channel
        self.redis_name = redis_name
        self.name = redis_name.encode()
        self.members: dict[Wire, Members] = {}
        self.size = 0
        self.holds = 0
        self.waiting: list[Event] = []
        self.waiting_bytes = 0
        self.writing = False
        self.left: set[Member] = set()
        self.stream = stream
        self.last: Publication | None = None

    def add(self, member: Member, wire: Wire) -> None:
        """Make somebody a member."""
        members = self.members.get(wire)
        if members is None:
            members = self.members[wire] = {}
        if member not in members:
            self.size += 1
        members[member] = member.write

    def remove(self, member: Member, wire: Wire) -> bool:
        """Take a member out. Returns whether it was one."""
        while True:
            members = self.members.get(wire)
            if members is not None and members.pop(member, None) is not None:
                self.size -= 1
                if self.writing:
                    self.left.add(member)
                if not members:
                    del self.members[wire]
                return True
            if wire.successor is None:
                return False
            wire = wire.successor

    def rounds(self, events: list[Event]) -> list[Round]:
        """Encode events for each wire, and say who is to have them.

        Members of a wire with a successor go over to it with their first publication: what comes next builds on it.
        """
        rounds = []
        keeps_last = False
        for wire, members in self.members.items():
            frames = wire.encode(self, events)
            if frames:
                rounds.append((frames, list(members.items())))
            keeps_last = keeps_last or wire.is_delta
        if keeps_last:
            self._succeed(events)
        return rounds

    def _succeed(self, events: list[Event]) -> None:
        last = next((event for event in reversed(events) if type(event) is Publication), None)
        if last is None:
            return
        self.last = last
        for wire in [wire for wire in self.members if wire.successor is not None]:
            assert wire.successor is not None
            moved = self.members.pop(wire)
            self.members.setdefault(wire.successor, {}).update(moved)

    def take_positioned(self) -> list[Member]:
        """Take out all members that count offsets, and return them."""
        taken: list[Member] = []
        for wire in [wire for wire in self.members if wire.is_positioned]:
            taken += self.members.pop(wire)
        self.size -= len(taken)
        if self.writing:
            self.left.update(taken)
        return taken
