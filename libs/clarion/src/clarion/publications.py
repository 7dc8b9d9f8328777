"""Publications: the one message shape that travels through the channel layer.

``{"type": "clarion.publication", "data": <any JSON value>, "offset"?, "epoch"?, "time"?, "tags"?, "info"?,
"delta"?}`` is a Channels message, so that a stock consumer handles it in ``clarion_publication(self, event)``.
``offset`` and ``epoch`` are written by Redis, and only on channels that keep a history.

Source: ADR-0001, ADR-0006.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec

from clarion.errors import DataInvalid
from clarion.values import JSON, publication_check

Message: TypeAlias = dict[str, Any]
"""A Channels message: a dict with a ``type``."""

PUBLICATION_TYPE: Final = "clarion.publication"

IDEMPOTENCY_KEY_MAX_CHARS: Final = 200

TAGS_MAX_BYTES: Final = 4_096
"""Most bytes of one publication's tags as JSON: every subscriber's filter looks at them."""


class Publication(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One item of a channel.

    Attributes:
        offset: its place in the channel's stream, from 1 on; 0: it is not in the history.
        epoch: the identity of that stream; "" without an offset.
        time: when it was published, in milliseconds since 1970 by the publisher's clock; 0: not known.
        tags: what a subscriber's filter looks at.
        info: who published it, ``{"user", "client", "conn_info"?, "chan_info"?}``, when a client did.
        delta: its publisher asked that it be sent as a difference to the one before.
    """

    data: JSON
    offset: int = 0
    epoch: str = ""
    time: int = 0
    tags: dict[str, str] | None = None
    info: dict[str, Any] | None = None
    delta: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """A publication that was accepted.

    Attributes:
        id: the publication's id, a UUIDv7 as text; of one that went to the outbox also the row's.
        offset: its place in the channel's stream; 0 without history, and in the outbox.
        epoch: the identity of that stream, or "".
    """

    channel: str
    id: str
    offset: int = 0
    epoch: str = ""


def publication(
    data: JSON, *, tags: dict[str, str] | None = None, info: dict[str, Any] | None = None, delta: bool = False
) -> Message:
    """The message of one publication whose data has been checked (:func:`clarion.values.publication_check`)."""
    message: Message = {"type": PUBLICATION_TYPE, "data": data}
    if tags:
        message["tags"] = tags
    if info:
        message["info"] = info
    if delta:
        message["delta"] = True
    return message


def publication_of(message: Message) -> Publication | None:
    """The publication that a message is, or None for any other dict."""
    if message.get("type") != PUBLICATION_TYPE:
        return None
    get = message.get
    return Publication(
        data=get("data"),
        offset=get("offset", 0),
        epoch=get("epoch", ""),
        time=get("time", 0),
        tags=get("tags"),
        info=get("info"),
        delta=get("delta", False),
    )


def tags_check(tags: object) -> dict[str, str] | None:
    """Return a publication's tags if they are texts by name; none at all are None.

    Raises:
        DataInvalid: HTTP 400, protocol error 107.
        PublicationTooLarge: HTTP 413; over ``TAGS_MAX_BYTES`` as JSON.
    """
    if tags is None:
        return None
    if not isinstance(tags, dict) or not all(isinstance(text, str) for pair in tags.items() for text in pair):
        raise DataInvalid("tags are an object of texts")
    publication_check(tags, TAGS_MAX_BYTES)
    return tags or None


def idempotency_key_check(key: object) -> str:
    """Return the idempotency key if it follows the rules.

    Raises:
        DataInvalid: HTTP 400, protocol error 107.
    """
    if isinstance(key, str) and 1 <= len(key) <= IDEMPOTENCY_KEY_MAX_CHARS and key.isprintable():
        return key
    raise DataInvalid(f"an idempotency key is text of 1 to {IDEMPOTENCY_KEY_MAX_CHARS} printable characters")


def client_data(message: Message) -> JSON:
    """What clients receive of a message: a publication's data, or the whole of any other dict."""
    return message.get("data") if message.get("type") == PUBLICATION_TYPE else message
