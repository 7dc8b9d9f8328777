"""Recovery of a client with a tags filter: what matches of all that it missed.

Such a client knows the offset of its last match. What does not match is not missing, however much it is; only the
matches count against the limit of a recovery.

Source: docs/protocol.md, "Tags filter"; ADR-0006.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from clarion.streams import Streams
from ws_gateway.recovery import Kept, Stream

FILTERED_PAGE: Final = 1_000
"""Publications that are read at once for a client with a tags filter; how many of them match nobody knows before."""

SHARED_MAX: Final = 5_000
"""Publications behind a client that are read in one, and kept for others that come back; over it in pages for it alone,
of which only the matches are kept."""

Wanted: TypeAlias = Callable[[list[Kept]], list[Kept]]
"""Those of some publications that a client gets."""


def matching_kept(found: list[Kept], limit: int, wanted: Wanted | None) -> list[Kept] | None:
    """What a client gets of what it missed; None: over the limit."""
    if wanted is not None:
        found = wanted(found)
    return found if len(found) <= limit else None


async def matching_read(
    streams: Streams, channel: str, stream: Stream, since: int, limit: int, wanted: Wanted
) -> list[Kept] | None:
    """Read behind an offset up to what has been delivered, page by page; None: over the limit, or not all is there.

    Raises:
        ChannelLayerUnavailable: Redis did not answer in time.
    """
    epoch = stream.epoch
    matches: list[Kept] = []
    while since < stream.delivered:  # which may have moved on; no await between this look and the return
        found = await streams.read(channel, since=since, limit=FILTERED_PAGE)
        page = found.publications
        if {found.epoch, stream.epoch} != {epoch} or not page or page[0].offset != since + 1:
            return None
        matches += wanted([Kept(publication) for publication in page if publication.offset <= stream.delivered])
        if len(matches) > limit:
            return None
        since = page[-1].offset
    return matches
