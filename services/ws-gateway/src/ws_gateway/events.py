"""What travels through a channel's group, decoded: publications, and who came and went.

A join or a leave is ``{"type": "clarion.join" | "clarion.leave", "info": {"user", "client", …}}``; it is no
publication: no offset, no history. Any other dict of a stock service is a publication of that very dict, without an
offset.

Source: ADR-0006.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from msgspec import Struct

from clarion.publications import Message, Publication, publication_of
from clarion.values import json_encode

JOIN_TYPE: Final = "clarion.join"
LEAVE_TYPE: Final = "clarion.leave"


class Membership(Struct):
    """Somebody has subscribed, or is gone."""

    is_join: bool
    info: dict[str, Any]


Event: TypeAlias = Publication | Membership


def event_of(message: Message) -> Event:
    """What a message of the channel layer is."""
    found = publication_of(message)
    if found is not None:
        return found
    kind = message.get("type")
    if kind in (JOIN_TYPE, LEAVE_TYPE) and isinstance(info := message.get("info"), dict):
        return Membership(kind == JOIN_TYPE, info)
    return Publication(data=message)


def has_json(event: Event) -> bool:
    """Whether an event can be encoded: a stock service's message may hold a time, or another type of msgpack's own."""
    try:
        json_encode(event.data if type(event) is Publication else event.info)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def membership_message(*, is_join: bool, info: dict[str, Any]) -> Message:
    """The message that tells a channel's members of a join or a leave."""
    return {"type": JOIN_TYPE if is_join else LEAVE_TYPE, "info": info}
