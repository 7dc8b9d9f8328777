"""Messages without an offset on channels with history: live, but nobody recovers them.

A stock service sent them, or somebody meant it so; who reads the log should know which.
"""

from __future__ import annotations

from typing import Final

import structlog

from clarion.publications import Publication
from ws_gateway.events import Event

log = structlog.stdlib.get_logger("ws_gateway.unkept")

CHANNELS_MAX: Final = 1_000
"""Channels that are remembered as told of in the log; over it the oldest is forgotten, and may be told of again."""


class Unkept:
    """Counts them, and logs each channel once.

    Attributes:
        count: of messages.
    """

    def __init__(self) -> None:
        self.count = 0
        self._told: dict[str, None] = {}

    def note(self, channel: str, events: list[Event]) -> None:
        """Look at the events of one read of a channel with history."""
        unkept = sum([type(event) is Publication and not event.offset for event in events])
        if not unkept:
            return
        self.count += unkept
        if channel not in self._told:
            self._told[channel] = None
            if len(self._told) > CHANNELS_MAX:
                del self._told[next(iter(self._told))]
            log.warning("message.unkept", channel=channel, count=self.count)
