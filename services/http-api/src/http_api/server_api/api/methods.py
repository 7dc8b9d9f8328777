"""The methods by their names: what each takes, does and needs.

Source: docs/reference/server-api.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from channels.exceptions import MessageTooLarge
from msgspec import Struct

from clarion.errors import PublicationTooLarge
from http_api.keys.scopes import Scope
from http_api.server_api import selectors, services
from http_api.server_api.requests import (
    BroadcastRequest,
    ChannelRequest,
    ChannelsRequest,
    DisconnectRequest,
    HistoryRequest,
    InfoRequest,
    PublishRequest,
    RefreshRequest,
    Request,
    SubscribeRequest,
    UnsubscribeRequest,
)


@dataclass(frozen=True, slots=True)
class Method:
    """One method.

    Attributes:
        request: what it takes.
        run: does it; raises a :class:`clarion.errors.ClarionError`.
        scope: what an API key needs for it.
    """

    name: str
    request: type[Request]
    run: Callable[[Any], Struct]
    scope: Scope

    def answer(self, request: Request) -> Struct:
        """Do it.

        Raises:
            ClarionError: the answer is an error with its protocol code.
        """
        try:
            return self.run(request)
        except MessageTooLarge as exc:
            raise PublicationTooLarge("the data is too large for the channel layer") from exc


METHODS: Final = {
    method.name: method
    for method in (
        Method("publish", PublishRequest, services.publish, Scope.PUBLISH),
        Method("broadcast", BroadcastRequest, services.broadcast, Scope.PUBLISH),
        Method("subscribe", SubscribeRequest, services.subscribe, Scope.CONTROL),
        Method("unsubscribe", UnsubscribeRequest, services.unsubscribe, Scope.CONTROL),
        Method("disconnect", DisconnectRequest, services.disconnect, Scope.CONTROL),
        Method("refresh", RefreshRequest, services.refresh, Scope.CONTROL),
        Method("presence", ChannelRequest, selectors.presence, Scope.READ),
        Method("presence_stats", ChannelRequest, selectors.presence_stats, Scope.READ),
        Method("history", HistoryRequest, selectors.history, Scope.READ),
        Method("history_remove", ChannelRequest, services.history_remove, Scope.CONTROL),
        Method("channels", ChannelsRequest, selectors.channels, Scope.READ),
        Method("info", InfoRequest, selectors.info, Scope.READ),
    )
}
"""All but ``batch``, which is made of them."""
