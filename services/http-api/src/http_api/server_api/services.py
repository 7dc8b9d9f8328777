"""What the server API does: publications, and orders to gateways.

An order reaches every gateway that listens, at most once. It is for connections of the client protocol: plain rooms
take none.

Source: docs/reference/server-api.md; ADR-0007.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import structlog
from msgspec import UNSET

from clarion.codes import DisconnectCode
from clarion.errors import ClarionError, DataInvalid, PermissionRefused, RequestInvalid
from clarion.names import personal_user, redis_control, user_id_check
from clarion.orders import Disconnect, Refresh, Subscribe, Unsubscribe, message_encode
from clarion.publications import Published
from clarion.publisher import get_publisher
from clarion.streams import Position
from clarion.tokens import SubsOptions
from clarion.values import JSON, json_decode, publication_check
from http_api.env import env
from http_api.metrics.counts import publication_counted, publications_count
from http_api.publishing.services import channel_open
from http_api.server_api.requests import (
    BroadcastRequest,
    ChannelRequest,
    DisconnectFields,
    DisconnectRequest,
    PublicationFields,
    PublishRequest,
    RefreshRequest,
    SelectionFields,
    SubscribeRequest,
    UnsubscribeRequest,
    items_check,
)
from http_api.server_api.results import BroadcastResult, Done, PublishResponse, PublishResult, error_of

log = structlog.get_logger(__name__)

INFO_MAX_BYTES: Final = 4_096
"""Most bytes of an info as JSON: every member of a channel may be told of it."""

REASON_MAX_BYTES: Final = 123
"""RFC 6455 section 5.5: a close frame holds 125 bytes, two of them the code."""

EXPIRE_AT_MAX: Final = 2**53
"""The last second that every JSON parser reads exactly."""

_CODES: Final = range(3000, 5000)
"""Close codes that an application may send (RFC 6455 section 7.4.2)."""


def publish(request: PublishRequest) -> PublishResult:
    """Send one publication to every subscriber of a channel.

    Raises:
        NameInvalid, DataInvalid, PublicationTooLarge, RequestInvalid: protocol error 107.
        NamespaceUnknown: 102.
        ChannelLayerUnavailable: 100; safe to repeat with the same idempotency key.
    """
    channel_open(request.channel)
    data, options = _publication_data(request), _publication_options(request)
    with publication_counted:
        published = get_publisher().publish(request.channel, data, **options)
    return PublishResult(offset=published.offset, epoch=published.epoch)


def broadcast(request: BroadcastRequest) -> BroadcastResult:
    """Send the same publication to several channels, each with a response of its own.

    Raises:
        DataInvalid, PublicationTooLarge, RequestInvalid: protocol error 107; nothing has been sent.
    """
    if not request.channels:
        raise RequestInvalid("a broadcast has channels")
    items_check(request.channels, "channels")
    data = _publication_data(request)
    refusals = [_refusal(channel) for channel in request.channels]
    opened = [channel for channel, refusal in zip(request.channels, refusals, strict=True) if refusal is None]
    answers = get_publisher().broadcast(opened, data, **_publication_options(request))
    publications_count(answers)
    sent = iter(answers)
    return BroadcastResult([_response(refusal or next(sent)) for refusal in refusals])


def _refusal(channel: str) -> ClarionError | None:
    try:
        channel_open(channel)
    except ClarionError as exc:
        return exc
    return None


def _response(answer: Published | ClarionError) -> PublishResponse:
    if isinstance(answer, ClarionError):
        return PublishResponse(error=error_of(answer))
    return PublishResponse(result=PublishResult(offset=answer.offset, epoch=answer.epoch))


def _publication_data(request: PublicationFields) -> JSON:
    if request.b64data:
        return _decoded(request.b64data, "b64data")
    if request.data is UNSET:
        raise RequestInvalid("a publication has data")
    return request.data


def _publication_options(request: PublicationFields) -> dict[str, Any]:
    return {
        "tags": request.tags,
        "idempotency_key": request.idempotency_key or None,
        "skip_history": request.skip_history,
        "delta": request.delta,
    }


def _decoded(text: str, field: str) -> JSON:
    """The JSON value of a ``b64…`` field."""
    try:
        return json_decode(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as exc:  # DataInvalid is a ValueError
        raise DataInvalid(f"{field} is not the text of a JSON value in base64") from exc


def history_remove(request: ChannelRequest) -> Done:
    """Remove a channel's publications; its position stays, so that nobody is told of a loss.

    Raises:
        NameInvalid: protocol error 107. NamespaceUnknown: 102. NotAvailable: 108. ChannelLayerUnavailable: 100.
    """
    get_publisher().remove(channel_open(request.channel))
    log.info("history.removed", channel=request.channel)
    return Done()


def subscribe(request: SubscribeRequest) -> Done:
    """Subscribe a user's connections to a channel, as their server.

    Raises:
        NameInvalid, DataInvalid, PublicationTooLarge, RequestInvalid: protocol error 107.
        NamespaceUnknown: 102.
        PermissionRefused: 103; it is another user's personal channel.
        ChannelLayerUnavailable: 100.
    """
    selection = _selection(request)
    channel = channel_open(request.channel)
    env.clarion_config.options_of(channel).name_check(channel)
    if personal_user(channel) not in (None, selection["user"]):
        raise PermissionRefused("a personal channel is its user's alone")
    options = SubsOptions(
        info=_small(_decoded(request.b64info, "b64info") if request.b64info else request.info),
        data=_checked_data(_decoded(request.b64data, "b64data") if request.b64data else request.data),
        override=request.override,
    )
    since = request.recover_since
    return _send(
        Subscribe(
            **selection,
            channel=channel,
            options=options,
            since=Position(since.offset, since.epoch) if since is not None else None,
            expires_at=_expire_at(request.expire_at),
        )
    )


def unsubscribe(request: UnsubscribeRequest) -> Done:
    """End a user's subscriptions to a channel, whoever made them; without a channel, to all.

    Raises:
        NameInvalid, RequestInvalid: protocol error 107. NamespaceUnknown: 102. ChannelLayerUnavailable: 100.
    """
    selection = _selection(request)
    if request.channel:
        channel_open(request.channel)
    return _send(Unsubscribe(**selection, channel=request.channel))


def disconnect(request: DisconnectRequest) -> Done:
    """End a user's connections.

    Raises:
        NameInvalid, RequestInvalid: protocol error 107. ChannelLayerUnavailable: 100.
    """
    items_check(request.whitelist, "connections in the whitelist")
    code, reason = _closing(request.disconnect)
    return _send(Disconnect(**_selection(request), code=code, reason=reason, whitelist=request.whitelist))


def _closing(closing: DisconnectFields | None) -> tuple[int, str]:
    if closing is None:
        return int(DisconnectCode.FORCE_DISCONNECT), DisconnectCode.FORCE_DISCONNECT.reason
    if closing.code not in _CODES:
        raise RequestInvalid(f"a disconnect's code is {_CODES.start} to {_CODES.stop - 1}")
    if len(closing.reason.encode()) > REASON_MAX_BYTES:
        raise RequestInvalid(f"a disconnect's reason has at most {REASON_MAX_BYTES} bytes")
    return closing.code, closing.reason


def refresh(request: RefreshRequest) -> Done:
    """Set when a user's connections expire, without a token.

    Raises:
        NameInvalid, DataInvalid, PublicationTooLarge, RequestInvalid: protocol error 107.
        ChannelLayerUnavailable: 100.
    """
    expires_at = _expire_at(request.expire_at)
    info = _small(request.info)
    return _send(Refresh(**_selection(request), expired=request.expired, expires_at=expires_at, info=info))


def _selection(request: SelectionFields) -> dict[str, str]:
    """Whom an order is for. A user must be named: without one it would be for every anonymous client."""
    user = request.user
    if user is UNSET:
        raise RequestInvalid('user is missing; "" stands for clients without a user id')
    return {"user": user_id_check(user) if user else "", "client": request.client, "session": request.session}


def _expire_at(seconds: int) -> int:
    if not 0 <= seconds <= EXPIRE_AT_MAX:
        raise RequestInvalid("expire_at is in seconds since 1970; 0 is never")
    return seconds


def _small(info: JSON) -> JSON:
    publication_check(info, INFO_MAX_BYTES)
    return info


def _checked_data(data: JSON) -> JSON:
    publication_check(data, env.clarion_config.limits.publication_bytes)
    return data


def _send(order: Subscribe | Unsubscribe | Disconnect | Refresh) -> Done:
    publisher = get_publisher()
    gateways = publisher.publish_raw(redis_control(publisher.prefix), message_encode(order))
    log.info("order.sent", order=type(order).__name__.lower(), user=order.user, gateways=gateways)
    return Done()
