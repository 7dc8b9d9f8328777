"""One channel's members in this process, and what waits for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from clarion.publications import Publication
from ws_gateway.events import Event
from ws_gateway.recovery import Stream
from ws_gateway.wires import Member, Wire

Write: TypeAlias = Callable[[bytes], None]
Members: TypeAlias = dict[Member, Write]
Round: TypeAlias = tuple[bytes, list[tuple[Member, Write]]]
"""Ready bytes, and the members that they are for."""


class Group:
    """One channel of this process. There may be 100,000 with one member each: what most do not need is None.

    Attributes:
        name: its Redis channel.
        wire, members: the members of one wire, mostly of all.
        others: members by wire, of further wires; a wire without members is not in it.
        size: members of all wires.
        holds: joins under way: they keep the subscription though they are no members yet.
        waiting: events that came while a slice was being written, with their size in bytes.
        writing: a round is being written in slices.
        left: who left since that began: the rest of the round is not for them, even if they have come back.
        stream: the channel's place in its stream, or None for a channel without history.
        last: the last publication that was delivered; kept only while a wire needs it (delta).
    """

    __slots__ = (
        "channel", "holds", "last", "left", "members", "name", "others", "size", "stream", "waiting",
        "waiting_bytes", "wire", "writing",
    )  # fmt: skip

    def __init__(self, channel: str, redis_name: str, stream: Stream | None) -> None:
        self.channel = channel
        self.name = redis_name.encode()
        self.wire: Wire | None = None
        self.members: Members = NOBODY
        self.others: dict[Wire, Members] | None = None
        self.size = 0
        self.holds = 0
        self.waiting: list[Event] | None = None
        self.waiting_bytes = 0
        self.writing = False
        self.left: set[Member] | None = None
        self.stream = stream
        self.last: Publication | None = None

    def add(self, member: Member, wire: Wire) -> bool:
        """Make somebody a member. Returns whether it was none."""
        members = self._of(wire)
        is_new = member not in members
        self.size += is_new
        members[member] = member.write
        return is_new

    def remove(self, member: Member, wire: Wire) -> bool:
        """Take a member out. Returns whether it was one."""
        while True:
            members = self.members if wire is self.wire else self.others.get(wire) if self.others else None
            if members is not None and members.pop(member, None) is not None:
                self.size -= 1
                self._note_left([member])
                if not members:
                    self._take(wire)
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
        for wire, members in self._by_wire():
            frames = wire.encode(self, events)
            if frames:
                rounds.append((frames, list(members.items())))
            keeps_last = keeps_last or wire.is_delta
        if keeps_last:
            self._succeed(events)
        return rounds

    def take_positioned(self) -> list[Member]:
        """Take out all members that count offsets, and return them."""
        taken: list[Member] = []
        for wire in [wire for wire, _ in self._by_wire() if wire.is_positioned]:
            taken += self._take(wire)
        self.size -= len(taken)
        self._note_left(taken)
        return taken

    def _by_wire(self) -> Iterator[tuple[Wire, Members]]:
        if self.wire is not None:
            yield self.wire, self.members
            if self.others:
                yield from self.others.items()

    def _of(self, wire: Wire) -> Members:
        """The members of a wire, to be added to."""
        if self.wire is None:
            self.wire, self.members = wire, {}
        if wire is self.wire:
            return self.members
        if self.others is None:
            self.others = {}
        return self.others.setdefault(wire, {})

    def _take(self, wire: Wire) -> Members:
        """Take out the members of a wire that has some or had some."""
        if wire is not self.wire:
            assert self.others is not None
            return self.others.pop(wire)
        members = self.members
        if self.others:
            self.wire, self.members = self.others.popitem()
        else:
            self.wire, self.members = None, NOBODY
        return members

    def _note_left(self, members: list[Member]) -> None:
        if self.writing:
            if self.left is None:
                self.left = set()
            self.left.update(members)

    def _succeed(self, events: list[Event]) -> None:
        last = next((event for event in reversed(events) if type(event) is Publication), None)
        if last is None:
            return
        self.last = last
        for wire in [wire for wire, _ in self._by_wire() if wire.successor is not None]:
            assert wire.successor is not None
            moved = self._take(wire)
            self._of(wire.successor).update(moved)


NOBODY: Final[Members] = {}
"""Of a group without members; nobody is ever added to it."""
