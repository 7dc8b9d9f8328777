"""Streams: the history of a recoverable channel, read by position.

Source: ADR-0006.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from clarion.namespaces import ClarionConfig
from clarion.publications import Message, Publication


class Position(NamedTuple):
    """A place in a channel's stream.

    Attributes:
        offset: of the last publication before it; 0 is before the first.
        epoch: the stream's identity: offsets of another epoch mean nothing here.
    """

    offset: int
    epoch: str


class Slice(msgspec.Struct):
    """A part of a channel's history, and the position it was read at.

    Attributes:
        offset, epoch: the stream's top when it was read.
        publications: oldest first; newest first when read in reverse.
    """

    offset: int
    epoch: str
    publications: list[Publication]

    def covers(self, since: int) -> bool:
        """Whether a slice read forward holds every publication after ``since`` up to the top."""
        return self.offset - since == len(self.publications) and (
            not self.publications or self.publications[0].offset == since + 1
        )


class Streams:
    """Histories of channels on all shards, for asyncio; used on one event loop.

    Args:
        urls: one Redis URL a shard, in the order that all services agree on.
        config: which channels keep a history, and how long.
        prefix: the channel layer's prefix.
        timeout_s: how long Redis may take to connect, and to answer.
        decode: bytes of a layer message → the message (the channel layer's ``deserialize``).
    """

    def __init__(
        self,
        urls: list[str],
        *,
        config: ClarionConfig,
        decode: Callable[[bytes], Message],
        prefix: str = "asgi",
        timeout_s: float = 1.0,
    ) -> None:
        raise NotImplementedError

    async def read(
        self, channel: str, *, since: int | None = None, limit: int | None = None, reverse: bool = False
    ) -> Slice:
        """Read a channel's position and, in one step with it, publications.

        Args:
            since: offsets over it; in reverse, below it. None: from the oldest; in reverse, from the newest.
            limit: most publications; 0 is the position only, None is all.

        Raises:
            NotAvailable: protocol error 108; the channel keeps no history.
            ChannelLayerUnavailable: HTTP 503; Redis did not answer in time.
        """
        raise NotImplementedError

    async def positions(self, channels: Sequence[str]) -> dict[str, Position]:
        """The tops of several channels: one round trip a shard. Channels without history are left out.

        Raises:
            ChannelLayerUnavailable: HTTP 503.
        """
        raise NotImplementedError

    async def remove(self, channel: str) -> None:
        """Remove a channel's publications; its position stays.

        Raises:
            NotAvailable, ChannelLayerUnavailable: as :meth:`read`.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Close every connection."""
        raise NotImplementedError
