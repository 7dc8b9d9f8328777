"""What becomes of one presence entry, as it waits for Redis."""

from __future__ import annotations

import asyncio
import enum
from typing import Any

from clarion.layers import ClarionChannelLayer
from clarion.presence import Entry
from ws_gateway.events import membership_message


class Kind(enum.StrEnum):
    """What is done to an entry; the values are the script's (:data:`clarion.presence_scripts.WRITE`)."""

    ENTER = "enter"
    """Write it and tell the channel."""
    AGAIN = "again"
    """Write it once more, since Redis lost something; tell the channel if it had been gone."""
    LEAVE = "leave"
    """Remove it and tell the channel."""
    DROP = "drop"
    """Remove one that should not be there, and tell as it says itself."""


class Change:
    """One change of one entry.

    Attributes:
        key: ``<client> <channel>``: the entry, in this process and in its node's set.
        value: the entry's value in Redis.
        message: what the channel is told; empty: nothing.
        written: done once Redis has it; only of an enter.
        is_taken_back: an enter that Redis may have, and whose client is gone.
    """

    __slots__ = ("is_taken_back", "key", "kind", "message", "value", "written")

    def __init__(self, kind: Kind, key: bytes, value: bytes = b"", message: bytes = b"") -> None:
        self.kind = kind
        self.key = key
        self.value = value
        self.message = message
        self.written: asyncio.Future[None] | None = None
        self.is_taken_back = False

    @property
    def size(self) -> int:
        """About how many bytes it has on the way to Redis."""
        return len(self.key) + len(self.value) + len(self.message)

    @property
    def words(self) -> tuple[Any, ...]:
        """The script's arguments."""
        client, _, channel = self.key.partition(b" ")
        return self.kind.value, channel, client, self.value, self.message


def entry_key(channel: str, client: str) -> bytes:
    """The name of an entry."""
    return f"{client} {channel}".encode()


class Entries:
    """Makes and reads this gateway's entries.

    Args:
        node: the uid of this process.
        layer: serialises what channels are told.
    """

    def __init__(self, node: str, layer: ClarionChannelLayer) -> None:
        self._node = node.encode()
        self._layer = layer

    def enter(self, channel: str, client: str, info: dict[str, Any], *, is_kept: bool, is_told: bool) -> Change:
        """Somebody comes.

        Raises:
            MessageTooLarge: the info has over 1 MiB.
        """
        leave = self._layer.serialize(membership_message(is_join=False, info=info))
        value = Entry(self._node, info.get("user", "").encode(), is_kept, is_told, leave).value
        return Change(Kind.ENTER, entry_key(channel, client), value, self._join(info) if is_told else b"")

    def again(self, key: bytes, value: bytes) -> Change:
        """Somebody is there, whatever Redis has."""
        entry = Entry.of(value)
        join = self._join(self._layer.deserialize(entry.leave)["info"]) if entry.is_told else b""
        return Change(Kind.AGAIN, key, value, join)

    def leave(self, key: bytes, value: bytes) -> Change:
        """Somebody goes."""
        entry = Entry.of(value)
        return Change(Kind.LEAVE, key, message=entry.leave if entry.is_told else b"")

    def _join(self, info: dict[str, Any]) -> bytes:
        return self._layer.serialize(membership_message(is_join=True, info=info))
