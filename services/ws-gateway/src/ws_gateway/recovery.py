"""A channel's place in its stream: what is next, what is missing, what is kept for who comes back.

Sans I/O: the hub feeds it what Redis sent and what was read from the stream, and does what it says.

- *offset* is that of the last event that was admitted; *delivered* that of the last one whose writing has begun. Who
  joins starts at *delivered*, and everything later reaches it like every other member.
- A live publication that skips an offset, or one of another epoch, starts *healing*: what comes meanwhile is held, over
  a bound it is forgotten (the stream has it), and the gap is read from the stream.
- *recent* keeps the last publications for a few seconds while clients recover, so that a thousand clients that come
  back at once cost one read.

Source: ADR-0006.
"""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec import Raw

from clarion.publications import Publication
from clarion.streams import Slice
from ws_gateway.events import Event

HELD_MAX: Final = 1_000
"""Publications that may wait for a gap to be filled; over it they are forgotten and read from the stream."""

RECENT_MAX: Final = 20_000
"""Publications of a channel that are kept while clients recover; over it the older half is dropped."""


class Kept:
    """A publication that several clients are about to receive in a reply, with its encodings."""

    __slots__ = ("json", "protobuf", "publication")

    def __init__(self, publication: Publication) -> None:
        self.publication = publication
        self.json: Raw | None = None
        self.protobuf: Raw | None = None


class Stream:
    """Where a channel stands in this process.

    Attributes:
        epoch: the stream's identity.
        offset: of the last publication admitted; -1 until the position is known.
        delivered: of the last publication whose writing to members has begun.
        positioned: done once the position is known.
        is_healing: a gap is being read; what comes is held.
        is_quiet: nothing has come since the last check of positions.
        reads: reads under way, by the offset that they start behind.
        catching_up: who waits until an offset has been delivered.
    """

    __slots__ = (
        "_held", "_held_dropped", "_recent", "_recent_used", "catching_up", "delivered", "epoch", "is_healing",
        "is_quiet", "offset", "positioned", "reads",
    )  # fmt: skip

    def __init__(self, positioned: asyncio.Future[None]) -> None:
        self.epoch = ""
        self.offset = -1
        self.delivered = -1
        self.positioned = positioned
        self.is_healing = False
        self.is_quiet = True
        self.reads: dict[int, asyncio.Future[None]] = {}
        self.catching_up: list[tuple[int, asyncio.Future[None]]] = []
        self._held: list[Publication] = []
        self._held_dropped = False
        self._recent: list[Kept] | None = None
        self._recent_used = 0.0

    # What Redis sends

    def admit(self, events: list[Event]) -> list[Event]:
        """Return the events that are next in line. ``is_healing`` says afterwards whether a gap was found."""
        self.is_quiet = False
        ready: list[Event] = []
        for event in events:
            if type(event) is not Publication or not event.offset:
                ready.append(event)  # it has no place in the stream
            elif self.is_healing:
                self._hold(event)
            elif event.epoch == self.epoch and event.offset == self.offset + 1:
                self.offset = event.offset
                if self._recent is not None:
                    self._keep(event)
                ready.append(event)
            elif event.epoch == self.epoch and event.offset <= self.offset:
                pass  # read from the stream before it came
            elif self.offset < 0:
                # Nobody counts offsets before the position is known; from here on the subscription is complete.
                self.epoch, self.offset, self.delivered = event.epoch, event.offset, event.offset - 1
                if self._recent is not None:
                    self._keep(event)  # what is being read may end just before it
                ready.append(event)
            else:
                self.is_healing = True
                self._hold(event)
        return ready

    def _hold(self, publication: Publication) -> None:
        if len(self._held) >= HELD_MAX:
            self._held.clear()
            self._held_dropped = True
        self._held.append(publication)

    def set_delivered(self, offset: int) -> None:
        """Writing of a publication begins."""
        self.delivered = offset
        if self.catching_up:
            for wanted, waiter in self.catching_up:
                if wanted <= offset and not waiter.done():
                    waiter.set_result(None)
            self.catching_up = [(wanted, waiter) for wanted, waiter in self.catching_up if not waiter.done()]

    # What was read from the stream

    def set_position(self, offset: int, epoch: str) -> None:
        """Take the position that was read after the subscription stood; a live publication may have set it before."""
        if self.offset < 0:
            self.epoch, self.offset, self.delivered = epoch, offset, offset
        if not self.positioned.done():
            self.positioned.set_result(None)

    def fill(self, found: Slice, since: int) -> list[Event] | None:
        """Take what was read behind ``since``, the offset at which healing began or went on.

        Returns:
            What is next in line, possibly nothing; or None: the stream no longer holds the gap, or is another one.
            ``is_healing`` stays True while there is more to read.
        """
        if found.epoch != self.epoch or found.offset < since or not found.covers(since):
            return None
        self.is_healing = False
        ready = self.admit(list(found.publications))
        held, self._held = self._held, []
        dropped, self._held_dropped = self._held_dropped, False
        ready += self.admit(list(held))
        self.is_healing = self.is_healing or (dropped and bool(found.publications))
        return ready

    def reset(self, offset: int, epoch: str) -> list[Event]:
        """Start anew at a position. Returns what was held: live for members that do not count offsets.

        To be called once all that do have been taken out of the channel.
        """
        held, self._held, self._held_dropped = self._held, [], False
        self.epoch, self.offset, self.is_healing, self._recent = epoch, offset, False, None
        for publication in held:
            if publication.epoch == epoch and publication.offset == self.offset + 1:
                self.offset = publication.offset
        self.delivered = self.offset
        return list(held)

    def rewind(self) -> None:
        """Forget what was admitted and not delivered: over the bound on waiting bytes it is read again later."""
        self.offset = self.delivered
        self.is_healing = True
        self._recent = None

    # Who comes back

    def keep_recent(self, now: float) -> None:
        """Keep what is admitted from here on; it is used by clients that recover."""
        if self._recent is None:
            self._recent = []
        self._recent_used = now

    def forget_recent(self, before: float) -> None:
        """Drop what is kept, unless a client used it since a time (of the event loop's clock)."""
        if self._recent is not None and self._recent_used < before and not self.reads:
            self._recent = None

    def merge_recent(self, found: Slice, now: float) -> None:
        """Put what was read before what was kept since the read began."""
        self._recent_used = now
        recent = self._recent or []
        if not found.publications or (recent and recent[0].publication.offset <= found.publications[0].offset):
            return
        newer = [item for item in recent if item.publication.offset > found.offset]
        if not newer or newer[0].publication.offset == found.offset + 1:
            self._recent = [Kept(publication) for publication in found.publications] + newer

    def recent_since(self, since: int, now: float) -> list[Kept] | None:
        """The publications behind ``since`` up to what has been delivered, or None if not all of them are kept."""
        wanted = self.delivered - since
        if wanted <= 0:
            return []
        recent = self._recent
        if not recent or recent[0].publication.offset > since + 1 or recent[-1].publication.offset < self.delivered:
            return None
        self._recent_used = now
        start = since + 1 - recent[0].publication.offset
        return recent[start : start + wanted]

    def _keep(self, publication: Publication) -> None:
        """Keep what is next in line: offsets grow by one, so that an offset tells a publication's place."""
        assert self._recent is not None
        behind = publication.offset - self._recent[-1].publication.offset if self._recent else 1
        if behind < 1:
            return  # a read of the stream was faster than what is live
        if behind > 1:
            self._recent.clear()
        self._recent.append(Kept(publication))
        if len(self._recent) > RECENT_MAX:
            del self._recent[: RECENT_MAX // 2]
