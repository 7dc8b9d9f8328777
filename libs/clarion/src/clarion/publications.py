"""Publications: the one message shape that travels through the channel layer.

``{"type": "clarion.publication", "data": <any JSON value>, "offset"?, "epoch"?, "tags"?, "info"?}`` is a Channels
message, so that a stock consumer handles it in ``clarion_publication(self, event)``.

Source: ADR-0001.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from clarion.values import JSON

Message: TypeAlias = dict[str, Any]
"""A Channels message: a dict with a ``type``."""

PUBLICATION_TYPE: Final = "clarion.publication"


def publication(data: JSON) -> Message:
    """The message of one publication whose data has been checked (:func:`clarion.values.publication_check`)."""
    return {"type": PUBLICATION_TYPE, "data": data}


def client_data(message: Message) -> JSON:
    """What clients receive of a message: a publication's data, or the whole of any other dict."""
    return message["data"] if message.get("type") == PUBLICATION_TYPE else message
