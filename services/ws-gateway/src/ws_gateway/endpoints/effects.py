"""The effects of a session that wait for an answer: Redis, the database, a function, a key.

Each is a task of the gateway; whatever happens, the session is told.

Source: ADR-0007.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias

import structlog
from django.db import Error as DatabaseError
from msgspec import Raw

from clarion.codes import DisconnectCode
from clarion.errors import ChannelLayerUnavailable, ClarionError
from clarion.rpc import RpcContext
from clarion.values import json_encode
from ws_gateway.credentials import session_user
from ws_gateway.matching import FILTERED_PAGE
from ws_gateway.protocol.commands import NO_DATA
from ws_gateway.protocol.effects import Call, FetchKeys, Identify, Join, ReadHistory, ReadPresence
from ws_gateway.protocol.replies import ClientInfo, HistoryResult
from ws_gateway.recovery import Kept

if TYPE_CHECKING:
    from clarion.streams import Slice
    from ws_gateway.endpoints.client import Client
    from ws_gateway.gateway import Gateway
    from ws_gateway.hub import Recovered
    from ws_gateway.protocol.subscriptions import Subscription

log = structlog.stdlib.get_logger("ws_gateway.effects")

Waiting: TypeAlias = FetchKeys | Identify | ReadHistory | ReadPresence | Call


async def join(gateway: Gateway, client: Client, effect: Join) -> None:
    """Subscribe the process, find what the client missed, write down its presence; then it is a member."""
    entering = _start_entering(gateway, client, effect)
    try:
        async with gateway.hub.holding(effect.channel, gateway.join_timeout_s, since=effect.since) as is_ready:
            _check(is_ready=is_ready)
            recovered = await _recover(gateway, effect)
            if entering is not None and not entering.done():
                await entering
                recovered = await _recover(gateway, effect)  # with what came meanwhile, which is kept: no further read
            elif entering is not None:
                entering.result()
            # No await from here on: what comes later reaches the client as a member.
            if not client.is_gone:
                client.joined(effect, recovered)
                entering = None  # it has entered, and leaves as a member
    except ClarionError as exc:
        client.session.join_failed(effect, exc, gateway.now())
    except Exception:
        log.exception("subscribe.failed", channel=effect.channel)
        client.session.join_failed(effect, ClarionError(), gateway.now())
    finally:
        await _undo(gateway, client, effect, entering)
    client.run()


def _check(*, is_ready: bool) -> None:
    if not is_ready:
        raise ChannelLayerUnavailable


async def _recover(gateway: Gateway, effect: Join) -> Recovered | None:
    if effect.since is None:
        return None
    if gateway.config.options_of(effect.channel).is_cache:
        return await gateway.hub.recover_latest(effect.channel, effect.since, effect.epoch)
    limit = gateway.config.client.recovery_max_publication_limit
    wanted = effect.subscription.wanted if effect.subscription.filter is not None else None
    return await gateway.hub.recover(effect.channel, effect.since, effect.epoch, limit or 2**63, wanted)


def _start_entering(gateway: Gateway, client: Client, effect: Join) -> asyncio.Task[None] | None:
    """Write down the presence, at the same time as the channel is subscribed: one round trip less."""
    subscription = effect.subscription
    if not subscription.has_presence and not subscription.tells_joins:
        return None
    return asyncio.get_running_loop().create_task(
        gateway.presence.entered(
            effect.channel,
            client.session.client,
            client.session.client_info(subscription),
            is_kept=subscription.has_presence,
            is_told=subscription.tells_joins,
        )
    )


async def _undo(gateway: Gateway, client: Client, effect: Join, entering: asyncio.Task[None] | None) -> None:
    """Take the presence back of a client that has not become a member."""
    if entering is None:
        return
    entering.cancel()  # takes back what is not written yet
    await asyncio.wait([entering])
    if not entering.cancelled() and entering.exception() is None:
        subscription = effect.subscription
        gateway.presence.left(
            effect.channel,
            client.session.client,
            client.session.client_info(subscription),
            is_kept=subscription.has_presence,
            is_told=subscription.tells_joins,
        )


async def run(gateway: Gateway, client: Client, effect: Waiting, scope: dict[str, Any] | None) -> None:
    """Do one effect and tell the session."""
    try:
        await _run(gateway, client, effect, scope)
    except Exception:
        # A defect: its command will never be answered, so the client has to come again.
        log.exception("effect.failed", effect=type(effect).__name__)
        client.session.close(DisconnectCode.SERVER_ERROR)
    client.run()


async def _run(gateway: Gateway, client: Client, effect: Waiting, scope: dict[str, Any] | None) -> None:
    session = client.session
    if type(effect) is ReadHistory:
        session.history_read(effect, await _history(gateway, client, effect))
    elif type(effect) is ReadPresence:
        session.presence_read(effect, await _presence(gateway, effect))
    elif type(effect) is Call:
        session.called(effect, await _call(gateway, client, effect))
    elif type(effect) is FetchKeys:
        session.keys_fetched(effect.command, await _fetch_keys(gateway, effect), gateway.now())
    elif type(effect) is Identify:
        assert scope is not None
        session.identified(effect.command, await _identify(gateway, scope), gateway.now())


async def _fetch_keys(gateway: Gateway, effect: FetchKeys) -> ClarionError | None:
    try:
        await gateway.rules.verifier.fetch_keys(effect.missing)
    except ClarionError as exc:
        return exc
    return None


async def _history(gateway: Gateway, client: Client, effect: ReadHistory) -> HistoryResult | ClarionError:
    subscription = client.session.subscriptions.get(effect.channel)
    try:
        if subscription is None or subscription.filter is None or not effect.limit:
            limit = None if effect.limit < 0 else effect.limit
            found = await gateway.streams.read(effect.channel, since=effect.since, limit=limit, reverse=effect.reverse)
            kept = [Kept(publication) for publication in found.publications]
        else:
            found, kept = await _filtered(gateway, subscription, effect)
    except ClarionError as exc:
        return exc
    return HistoryResult(publications=client.codec.kept(kept, as_text=False), epoch=found.epoch, offset=found.offset)


async def _filtered(gateway: Gateway, subscription: Subscription, effect: ReadHistory) -> tuple[Slice, list[Kept]]:
    """Read on until as many publications match as were asked for: an empty page is the end to who pages."""
    wanted: list[Kept] = []
    since = effect.since
    while True:
        found = await gateway.streams.read(effect.channel, since=since, limit=FILTERED_PAGE, reverse=effect.reverse)
        wanted += subscription.wanted([Kept(publication) for publication in found.publications])
        if 0 < effect.limit <= len(wanted):
            return found, wanted[: effect.limit]
        if len(found.publications) < FILTERED_PAGE:
            return found, wanted
        since = found.publications[-1].offset


async def _presence(gateway: Gateway, effect: ReadPresence) -> dict[str, ClientInfo] | tuple[int, int] | ClarionError:
    try:
        if effect.is_stats:
            stats = await gateway.presence.stats(effect.channel)
            return stats.num_clients, stats.num_users
        found = await gateway.presence.read(effect.channel)
    except ClarionError as exc:
        return exc
    return {client: _client_info(info) for client, info in found.items()}


def _client_info(info: dict[str, Any]) -> ClientInfo:
    return ClientInfo(
        user=info.get("user", ""),
        client=info.get("client", ""),
        conn_info=_raw(info.get("conn_info")),
        chan_info=_raw(info.get("chan_info")),
    )


async def _call(gateway: Gateway, client: Client, effect: Call) -> bytes | ClarionError:
    session = client.session
    context = RpcContext(user=session.user, client=session.client, info=session.info, meta=session.meta)
    try:
        return await gateway.methods.call(effect.method, context, effect.data)
    except ClarionError as exc:
        return exc


async def _identify(gateway: Gateway, scope: dict[str, Any]) -> str | None:
    """The user of the session cookie; "": nobody; None: it cannot be read now."""
    try:
        async with asyncio.timeout(gateway.join_timeout_s):
            return await session_user(scope)
    except (TimeoutError, DatabaseError) as exc:
        log.warning("session.unread", error=type(exc).__name__)
        return None


def _raw(info: Any) -> Raw:
    return Raw(json_encode(info)) if info is not None else NO_DATA
