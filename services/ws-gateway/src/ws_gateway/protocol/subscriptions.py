"""One subscription of one connection.

Source: docs/protocol.md, "Subscribe".
"""

from __future__ import annotations

from msgspec import Struct

from clarion.namespaces import ChannelOptions
from clarion.tokens import Override
from clarion.values import JSON
from ws_gateway.protocol.filters import Filter
from ws_gateway.recovery import Kept
from ws_gateway.wires import Wire


class Subscription(Struct, kw_only=True, eq=False, gc=False):
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

    is_server_side: bool = False
    is_positioned: bool = False
    is_recoverable: bool = False
    has_presence: bool = False
    tells_joins: bool = False
    hears_joins: bool = False
    is_delta: bool = False
    filter: Filter | None = None
    expires_at: float = 0.0
    info: JSON = None
    wire: Wire | None = None

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

    def wanted(self, publications: list[Kept]) -> list[Kept]:
        """Those publications that its filter lets through."""
        matches = self.filter.matches if self.filter is not None else None
        return publications if matches is None else [kept for kept in publications if matches(kept.publication.tags)]


OVERRIDABLE = ("presence", "join_leave", "force_push_join_leave", "force_recovery", "force_positioning")
"""Options that a subscription token may set for its holder."""
