"""What the server API reads: streams, presence, channels with subscribers, gateways.

Source: docs/reference/server-api.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from clarion.errors import NotAvailable, UnrecoverablePosition
from clarion.globs import glob_compile
from clarion.presence import SyncPresence
from clarion.publications import Publication as KeptPublication
from clarion.publisher import Publisher, get_publisher
from http_api.env import env
from http_api.publishing.services import channel_open
from http_api.server_api.requests import ChannelRequest, ChannelsRequest, HistoryRequest, InfoRequest
from http_api.server_api.results import (
    ChannelInfo,
    ChannelsResult,
    ClientInfo,
    HistoryResult,
    InfoResult,
    Node,
    PresenceResult,
    PresenceStatsResult,
    Publication,
)
from http_api.server_api.surveys import channels_ask


def history(request: HistoryRequest) -> HistoryResult:
    """Read a part of a channel's stream, and its top in the same step.

    Raises:
        NameInvalid: protocol error 107. NamespaceUnknown: 102. NotAvailable: 108.
        UnrecoverablePosition: 112; ``since`` is of another epoch.
        ChannelLayerUnavailable: 100.
    """
    channel = channel_open(request.channel)
    most, since = env.server_api_items_max, request.since
    found = get_publisher().read(
        channel,
        since=since.offset if since is not None else None,
        limit=most if request.limit < 0 else min(request.limit, most),
        reverse=request.reverse,
    )
    if since is not None and since.epoch not in ("", found.epoch):
        raise UnrecoverablePosition
    return HistoryResult([_publication(kept) for kept in found.publications], found.offset, found.epoch)


def _publication(kept: KeptPublication) -> Publication:
    info = _client_info(kept.info) if kept.info else None
    return Publication(data=kept.data, offset=kept.offset, tags=kept.tags, info=info)


def _client_info(info: dict[str, Any]) -> ClientInfo:
    return ClientInfo(
        client=info.get("client", ""),
        user=info.get("user", ""),
        conn_info=info.get("conn_info"),
        chan_info=info.get("chan_info"),
    )


def presence(request: ChannelRequest) -> PresenceResult:
    """Say who is in a channel, on all gateways.

    Raises:
        NameInvalid: protocol error 107. NamespaceUnknown: 102. NotAvailable: 108. ChannelLayerUnavailable: 100.
    """
    members = _presence(get_publisher()).read(_seen_channel(request))
    return PresenceResult({client: _client_info(info) for client, info in members.items()})


def presence_stats(request: ChannelRequest) -> PresenceStatsResult:
    """Say how many are in a channel; errors as :func:`presence`."""
    stats = _presence(get_publisher()).stats(_seen_channel(request))
    return PresenceStatsResult(stats.num_clients, stats.num_users)


def _seen_channel(request: ChannelRequest) -> str:
    channel = channel_open(request.channel)
    if not env.clarion_config.options_of(channel).presence:
        raise NotAvailable("this channel has no presence")
    return channel


def channels(request: ChannelsRequest) -> ChannelsResult:
    """Say which channels have subscribers, and how many, by asking every gateway.

    Raises:
        RequestInvalid: protocol error 107; the pattern.
        LimitExceeded: 106. TooManyRequests: 111.
        NoAnswer, ChannelLayerUnavailable: 100.
    """
    if request.pattern:
        glob_compile(request.pattern)
    found = channels_ask(request.pattern)
    return ChannelsResult({channel: ChannelInfo(found[channel]) for channel in sorted(found)})


def info(_request: InfoRequest) -> InfoResult:
    """Say which gateways live, as of their last heartbeats.

    Raises:
        ChannelLayerUnavailable: protocol error 100.
    """
    nodes = [msgspec.convert(facts, Node) for facts in _presence(get_publisher()).nodes()]
    return InfoResult(sorted(nodes, key=lambda node: (node.name, node.uid)))


@lru_cache(maxsize=1)
def _presence(publisher: Publisher) -> SyncPresence:
    return SyncPresence(publisher)
