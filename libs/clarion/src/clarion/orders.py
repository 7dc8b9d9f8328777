"""Orders: what services tell gateways over Redis, and what gateways answer.

An order is a msgpack map with a ``kind``, published on a channel that every gateway hears, or on one gateway's own
(:func:`clarion.names.redis_control`). It reaches each gateway at most once, and nothing is stored: a gateway that is
away has no clients.

Source: docs/reference/server-api.md; ADR-0007.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from clarion.errors import RequestInvalid
from clarion.streams import Position
from clarion.tokens import SubsOptions
from clarion.values import JSON


class Emulation(msgspec.Struct, frozen=True, tag_field="kind", tag="emulation"):
    """Commands of a client whose stream another gateway holds, as ``/emulation`` received them."""

    session: str
    data: bytes


class Selection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """Connections of the client protocol.

    Attributes:
        user: of this user id; "" are the anonymous ones.
        client: of those, the one with this id; "" is any.
        session: of those, the one with this emulation session; "" is any.
    """

    user: str
    client: str = ""
    session: str = ""


class Disconnect(Selection, frozen=True, tag="disconnect"):
    """End connections.

    Attributes:
        code: of the close frame, 3000 to 4999; the client stays away on 3500 to 3999 and from 4500 on.
        whitelist: ids of connections that stay.
    """

    code: Annotated[int, Meta(ge=3000, le=4999)]
    reason: str
    whitelist: list[str] = []


class Unsubscribe(Selection, frozen=True, tag="unsubscribe"):
    """End a subscription; with the channel "" all of them."""

    channel: str = ""


class Subscribe(Selection, frozen=True, tag="subscribe"):
    """Make a server-side subscription.

    Attributes:
        options: what a connection token's ``subs`` may say, too.
        since: recover from there.
        expires_at: seconds since 1970; 0: never.
    """

    channel: str
    options: SubsOptions = SubsOptions()
    since: Position | None = None
    expires_at: int = 0


class Refresh(Selection, frozen=True, tag="refresh"):
    """Set when connections expire.

    Attributes:
        expired: they have: close them.
        expires_at: seconds since 1970; 0: never.
        info: their new ``conn_info``; None: as it was.
    """

    expired: bool = False
    expires_at: int = 0
    info: JSON = None


class ChannelsQuestion(msgspec.Struct, frozen=True, tag_field="kind", tag="channels"):
    """Ask which channels have subscribers.

    Attributes:
        id: answers go to :func:`clarion.names.redis_reply` of it.
        pattern: a glob (:mod:`clarion.globs`); "" is all.
    """

    id: str
    pattern: str = ""


class ChannelsAnswer(msgspec.Struct, frozen=True):
    """A part of one gateway's answer.

    Attributes:
        node: the uid of the gateway's process.
        channels: subscribers there, by channel.
        is_last: nothing more comes from this gateway.
    """

    node: str
    channels: dict[str, int]
    is_last: bool


Order: TypeAlias = Emulation | Disconnect | Unsubscribe | Subscribe | Refresh | ChannelsQuestion

_orders: Final[msgspec.msgpack.Decoder[Order]] = msgspec.msgpack.Decoder(Order)
_answers: Final = msgspec.msgpack.Decoder(ChannelsAnswer)


def message_encode(message: Order | ChannelsAnswer) -> bytes:
    """The bytes of an order or an answer."""
    return msgspec.msgpack.encode(message)


def order_decode(payload: bytes) -> Order:
    """The order of these bytes.

    Raises:
        RequestInvalid: it is none, or of a kind that is not known here.
    """
    try:
        return _orders.decode(payload)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise RequestInvalid(str(exc)) from exc


def answer_decode(payload: bytes) -> ChannelsAnswer:
    """The answer of these bytes.

    Raises:
        RequestInvalid: it is none.
    """
    try:
        return _answers.decode(payload)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
        raise RequestInvalid(str(exc)) from exc
