"""What the console page is told about this deployment."""

from __future__ import annotations

from typing import Final, TypedDict

from clarion.namespaces import ClarionConfig
from http_api.env import env

_FIRST_ROOM: Final = {"chat": "chat:lobby"}
_EXAMPLES_MAX: Final = 2


class PageFacts(TypedDict):
    """Facts that the page's script reads. None of them is secret: a page is anybody's to read."""

    user: str
    """The reader's user id; it names the personal channel."""
    namespaces: list[str]
    """Namespaces whose channels a signed-in client may join."""
    examples: list[str]
    """Channels to try, the first is filled in; at most two."""
    publication_bytes: int
    """Most bytes that one message may have."""


def page_facts(user: str) -> PageFacts:
    """The facts for a signed-in user."""
    config = env.clarion_config
    namespaces = _joinable(config)
    return {
        "user": user,
        "namespaces": namespaces,
        "examples": [_FIRST_ROOM.get(name, f"{name}:demo") for name in namespaces[:_EXAMPLES_MAX]],
        "publication_bytes": min(config.limits.publication_bytes, config.limits.room_frame_bytes),
    }


def _joinable(config: ClarionConfig) -> list[str]:
    return [namespace.name for namespace in config.channel.namespaces if namespace.allow_subscribe_for_client]
