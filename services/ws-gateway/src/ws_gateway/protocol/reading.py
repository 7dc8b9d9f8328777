"""Publish, presence, history and rpc: commands that change nothing in the session.

Source: docs/protocol.md, "Commands".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw

from clarion import permissions
from clarion.errors import ClarionError, ConcurrentPagination, MethodNotFound, RequestInvalid, UnrecoverablePosition
from clarion.names import channel_check
from clarion.values import json_decode, publication_check
from ws_gateway.protocol.commands import (
    Command,
    HistoryRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RPCRequest,
)
from ws_gateway.protocol.effects import Call, Publish, ReadHistory, ReadPresence
from ws_gateway.protocol.replies import (
    ClientInfo,
    HistoryResult,
    PresenceResult,
    PresenceStatsResult,
    PublishResult,
    Reply,
    RPCResult,
)

if TYPE_CHECKING:
    from ws_gateway.protocol.session import Session


def publish(session: Session, command: Command, request: PublishRequest) -> None:
    """Publish what the client sends.

    Raises:
        NameInvalid, DataInvalid, PublicationTooLarge: error 107.
        NamespaceUnknown: 102. PermissionRefused: 103. TooManyRequests: 111.
    """
    channel = channel_check(request.channel)
    config = session.rules.config
    is_subscribed = channel in session.subscriptions
    permissions.may_publish(config, channel, session.user, is_subscribed=is_subscribed).check()
    if not request.data:
        raise RequestInvalid("a publication has data")
    data = json_decode(bytes(request.data))
    publication_check(data, config.limits.publication_bytes)
    session.begin()
    session.do(Publish(command.id, channel, data))


def published(session: Session, effect: Publish, exc: ClarionError | None) -> None:
    """The publication has been sent, or not."""
    session.finish()
    if exc is None:
        session.answer(Reply(id=effect.id, publish=PublishResult()))
    else:
        session.fail(effect.id, exc)


def presence(session: Session, command: Command, request: PresenceRequest) -> None:
    """Say who is in a channel. Raises NotAvailable (108), PermissionRefused (103), as :func:`publish`."""
    _presence(session, command, request.channel, is_stats=False)


def presence_stats(session: Session, command: Command, request: PresenceStatsRequest) -> None:
    """Say how many are in a channel; errors as :func:`presence`."""
    _presence(session, command, request.channel, is_stats=True)


def _presence(session: Session, command: Command, name: str, *, is_stats: bool) -> None:
    channel = channel_check(name)
    is_subscribed = channel in session.subscriptions
    permissions.may_presence(session.rules.config, channel, session.user, is_subscribed=is_subscribed).check()
    session.begin()
    session.do(ReadPresence(command.id, channel, is_stats))


def presence_read(
    session: Session,
    effect: ReadPresence,
    found: dict[str, ClientInfo] | tuple[int, int] | ClarionError,
) -> None:
    """Who is there by client id, or the numbers of clients and users."""
    session.finish()
    if isinstance(found, ClarionError):
        session.fail(effect.id, found)
    elif isinstance(found, tuple):
        stats = PresenceStatsResult(num_clients=found[0], num_users=found[1])
        session.answer(Reply(id=effect.id, presence_stats=stats))
    else:
        session.answer(Reply(id=effect.id, presence=PresenceResult(presence=found)))


def history(session: Session, command: Command, request: HistoryRequest) -> None:
    """Read a channel's stream.

    Raises:
        NotAvailable: error 108; no history. PermissionRefused: 103. TooManyRequests: 111.
        ConcurrentPagination: 113; the page before of this channel has not been answered yet.
    """
    channel = channel_check(request.channel)
    config = session.rules.config
    is_subscribed = channel in session.subscriptions
    permissions.may_history(config, channel, session.user, is_subscribed=is_subscribed).check()
    most = config.client.history_max_publication_limit
    limit = request.limit
    if limit < 0 or (most and limit > most):
        limit = most or -1
    since = request.since
    if since is not None and channel in session.paging:
        raise ConcurrentPagination
    session.begin()
    if since is not None:
        session.paging = session.paging | {channel}
    session.do(
        ReadHistory(
            command.id,
            channel,
            since=since.offset if since is not None else None,
            epoch=since.epoch if since is not None else "",
            limit=limit,
            reverse=request.reverse,
        )
    )


def history_read(session: Session, effect: ReadHistory, found: HistoryResult | ClarionError) -> None:
    """A part of the stream, and its top."""
    session.finish()
    session.paging = session.paging - {effect.channel}
    if isinstance(found, ClarionError):
        session.fail(effect.id, found)
    elif effect.epoch and effect.epoch != found.epoch:
        session.fail(effect.id, UnrecoverablePosition())
    else:
        session.answer(Reply(id=effect.id, history=found))


def rpc(session: Session, command: Command, request: RPCRequest) -> None:
    """Call a function. Raises MethodNotFound (104), TooManyRequests (111)."""
    if request.method not in session.rules.methods:
        raise MethodNotFound(f"there is no method {request.method[:100]!r}")
    session.begin()
    session.do(Call(command.id, request.method, bytes(request.data)))


def called(session: Session, effect: Call, found: bytes | ClarionError) -> None:
    """What the function returned, as JSON."""
    session.finish()
    if isinstance(found, ClarionError):
        session.fail(effect.id, found)
    else:
        session.answer(Reply(id=effect.id, rpc=RPCResult(data=Raw(found))))
