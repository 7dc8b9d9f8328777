"""Sending publications to the channel layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from clarion.names import channel_check
from clarion.publisher import Publisher
from clarion.values import JSON
from http_api.env import env


@dataclass(frozen=True, slots=True)
class Published:
    """A publication that Redis has taken.

    Attributes:
        channel: where it went.
        id: its own id, a UUIDv7.
    """

    channel: str
    id: str


@cache
def publisher() -> Publisher:
    """This process's publisher: at most one Redis connection a thread and shard, kept open."""
    return Publisher(
        env.redis_urls,
        prefix=env.layer_prefix,
        timeout_s=env.redis_timeout_s,
        max_connections=env.http_threads,
        publication_bytes=env.clarion_config.limits.publication_bytes,
    )


def channel_open(channel: str) -> str:
    """The channel's name, if it may exist.

    Raises:
        NameInvalid: HTTP 400.
        NamespaceUnknown: HTTP 404; ``clarion.toml`` does not define its namespace.
    """
    env.clarion_config.options_of(channel_check(channel))
    return channel


def publication_send(channel: str, data: JSON) -> Published:
    """Send one publication to every subscriber of a channel, at most once.

    Raises:
        NameInvalid: HTTP 400.
        DataInvalid: HTTP 400; JSON that cannot travel.
        PublicationTooLarge: HTTP 413; over ``limits.publication_bytes`` as compact JSON.
        ChannelLayerUnavailable: HTTP 503; Redis did not answer within ``redis_timeout_s``.
    """
    return Published(channel, publisher().publish(channel, data))
