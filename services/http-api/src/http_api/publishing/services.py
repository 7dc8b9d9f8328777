"""Sending publications to the channel layer."""

from __future__ import annotations

import clarion
from clarion.names import channel_check
from clarion.publishing import Published
from clarion.values import JSON
from http_api.env import env
from http_api.metrics.counts import publication_counted


def channel_open(channel: str) -> str:
    """The channel's name, if it may exist.

    Raises:
        NameInvalid: HTTP 400.
        NamespaceUnknown: HTTP 404; ``clarion.toml`` does not define its namespace.
    """
    env.clarion_config.options_of(channel_check(channel))
    return channel


def publication_send(
    channel: str, data: JSON, *, idempotency_key: str | None = None, tags: dict[str, str] | None = None
) -> Published:
    """Send one publication to every subscriber of a channel, at once; a channel with history keeps it.

    Args:
        idempotency_key: a repeat on the channel within five minutes returns the first result and sends nothing.
        tags: texts by name, for subscribers' filters.

    Raises:
        NameInvalid: HTTP 400.
        DataInvalid: HTTP 400; JSON that cannot travel.
        PublicationTooLarge: HTTP 413; over ``limits.publication_bytes`` as compact JSON.
        ChannelLayerUnavailable: HTTP 503; Redis did not answer within ``redis_timeout_s``.
    """
    with publication_counted:
        return clarion.publish(channel, data, idempotency_key=idempotency_key, tags=tags)
