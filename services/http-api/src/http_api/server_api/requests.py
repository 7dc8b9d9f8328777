"""What a caller may ask for: one struct a method, its fields those of Centrifugo.

A field that is not there is the same as one that is null, but for ``data``, where null is a value.

Source: docs/reference/server-api.md.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from clarion.errors import RequestInvalid
from clarion.tokens import Override
from clarion.values import JSON
from http_api.env import env


class Request(Struct, kw_only=True, forbid_unknown_fields=True):
    """The base of all: a misspelt field must not be dropped in silence."""


class PublicationFields(Request):
    """What ``publish`` and ``broadcast`` share.

    Attributes:
        data: any JSON value; UNSET if there is none.
        b64data: the text of a JSON value in base64, in place of ``data``.
    """

    data: Any = UNSET
    b64data: str = ""
    skip_history: bool = False
    tags: dict[str, str] = {}
    idempotency_key: str = ""
    delta: bool = False


class PublishRequest(PublicationFields):
    """Publish to one channel."""

    channel: str = ""


class BroadcastRequest(PublicationFields):
    """Publish the same data to several channels."""

    channels: list[str] = []


class SelectionFields(Request):
    """Which connections an order is for.

    Attributes:
        user: of this user id; "" are the anonymous ones. UNSET if it is not said: that is no selection.
    """

    user: str | UnsetType = UNSET
    client: str = ""
    session: str = ""


class StreamPosition(Request):
    """A place in a channel's stream."""

    offset: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    epoch: str = ""


class OverrideFields(Override, forbid_unknown_fields=True, frozen=True):
    """Options of the namespace that hold otherwise for one subscription."""


class SubscribeRequest(SelectionFields):
    """Subscribe connections to a channel."""

    channel: str = ""
    expire_at: int = 0
    info: Any = None
    b64info: str = ""
    data: Any = None
    b64data: str = ""
    recover_since: StreamPosition | None = None
    override: OverrideFields | None = None


class UnsubscribeRequest(SelectionFields):
    """End subscriptions to a channel; "" is every channel."""

    channel: str = ""


class DisconnectFields(Request):
    """What a connection is closed with."""

    code: int = 0
    reason: str = ""


class DisconnectRequest(SelectionFields):
    """End connections."""

    whitelist: list[str] = []
    disconnect: DisconnectFields | None = None


class RefreshRequest(SelectionFields):
    """Set when connections expire; 0 is never."""

    expired: bool = False
    expire_at: int = 0
    info: Any = None


class ChannelRequest(Request):
    """``presence``, ``presence_stats``, ``history_remove``."""

    channel: str = ""


class HistoryRequest(ChannelRequest):
    """Read a stream; without a limit its position alone."""

    limit: int = 0
    since: StreamPosition | None = None
    reverse: bool = False


class ChannelsRequest(Request):
    """Ask which channels have subscribers."""

    pattern: str = ""


class InfoRequest(Request):
    """Ask which gateways there are."""


class BatchRequest(Request):
    """Several commands, each ``{"<method>": {…}}``.

    Attributes:
        parallel: their order is all the same to the caller.
    """

    commands: list[dict[str, JSON]] = []
    parallel: bool = False


Kind = TypeVar("Kind", bound=Request)


def request_of(kind: type[Kind], document: JSON) -> Kind:
    """The request that a body is.

    Raises:
        RequestInvalid: HTTP 400; it is no object, a field is of a wrong type, or there is no such field.
    """
    if not isinstance(document, dict):
        raise RequestInvalid("the body is a JSON object")
    given = {name: value for name, value in document.items() if value is not None or name == "data"}
    try:
        return msgspec.convert(given, kind, strict=True)
    except msgspec.ValidationError as exc:
        raise RequestInvalid(str(exc)) from exc


def items_check(items: list[Any], what: str) -> None:
    """Refuse a list that is longer than ``CLARION_SERVER_API_ITEMS_MAX``.

    Raises:
        RequestInvalid: protocol error 107.
    """
    if len(items) > env.server_api_items_max:
        raise RequestInvalid(f"{len(items):,} {what}; {env.server_api_items_max:,} are allowed")
