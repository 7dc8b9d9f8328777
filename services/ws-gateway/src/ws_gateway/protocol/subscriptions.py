"""One subscription of one connection.

Source: docs/protocol.md, "Subscribe".
"""

from __future__ import annotations

from typing import Any

from clarion.namespaces import ChannelOptions
from clarion.tokens import Override
from ws_gateway.protocol.filters import Filter
from ws_gateway.wires import Wire


class Subscription:
    """What a connection has agreed on with the server for a channel.

    Attributes:
        is_server_side: the server made it: by a token, for the personal channel, or by its API.
        is_positioned: the client counts offsets; a gap that cannot be filled is told.
        is_recoverable: the client may come back to its position.
        has_presence: others see the client in the channel.
        tells_joins: others are told when the client comes and goes.
        hears_joins: the client is told when others come and go.
        is_delta: publications may come as what changed.
        filter: which publications the client gets; None is all.
        expires_at: on the session's clock, the grace included; 0 is never.
        info: ``chan_info``: what others see of the client in this channel.
        wire: how the channel's events reach the client, once it is a member.
    """

    __slots__ = (
        "expires_at", "filter", "has_presence", "hears_joins", "info", "is_delta", "is_positioned", "is_recoverable",
        "is_server_side", "tells_joins", "wire",
    )  # fmt: skip

    def __init__(self, *, is_server_side: bool = False, info: Any = None) -> None:
        self.is_server_side = is_server_side
        self.is_positioned = False
        self.is_recoverable = False
        self.has_presence = False
        self.tells_joins = False
        self.hears_joins = False
        self.is_delta = False
        self.filter: Filter | None = None
        self.expires_at = 0.0
        self.info = info
        self.wire: Wire | None = None

    def agree(
        self, options: ChannelOptions, override: Override | None, *, recoverable: bool, positioned: bool, joins: bool
    ) -> None:
        """Set what the namespace forces, and what the client asks for and may have.

        Args:
            override: what the subscription's token says in place of the namespace.
            recoverable, positioned, joins: what the client asks for and has a right to.
        """
        value = {name: getattr(options, name) for name in OVERRIDABLE}
        for name in OVERRIDABLE if override is not None else ():
            flag = getattr(override, name)
            if flag is not None:
                value[name] = flag.value
        self.is_recoverable = options.has_history and (value["force_recovery"] or recoverable)
        self.is_positioned = options.has_history and (self.is_recoverable or value["force_positioning"] or positioned)
        self.has_presence = value["presence"]
        self.tells_joins = value["join_leave"]
        self.hears_joins = value["join_leave"] and (value["force_push_join_leave"] or joins)


OVERRIDABLE = ("presence", "join_leave", "force_push_join_leave", "force_recovery", "force_positioning")
"""Options that a subscription token may set for its holder."""
