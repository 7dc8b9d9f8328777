"""Drives a protocol session over a connection: bytes in, effects done, bytes out.

A detached session of the server: it holds no task while nothing is under way. What needs no answer from elsewhere (a
verified token, a subscribe to a channel that the process has) is done in the same call.

Source: ADR-0007.
"""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Any

import structlog

from clarion.codes import DisconnectCode
from clarion.errors import ClarionError
from clarion.publications import publication
from clarion.server import Connection, Lost
from clarion.tokens import SubsOptions
from clarion.values import JSON
from ws_gateway.endpoints import effects
from ws_gateway.protocol.codec import Codec, FrameCrowded, FrameMalformed
from ws_gateway.protocol.commands import PONG, StreamPosition
from ws_gateway.protocol.effects import (
    Call,
    Close,
    Deliver,
    FetchKeys,
    Identify,
    Join,
    Leave,
    Out,
    Publish,
    ReadHistory,
    ReadPresence,
)
from ws_gateway.protocol.formats import Format
from ws_gateway.protocol.replies import Disconnect, Push, Reply, SubscribeResult
from ws_gateway.protocol.session import Session

if TYPE_CHECKING:
    from ws_gateway.gateway import Gateway
    from ws_gateway.hub import Recovered

log = structlog.stdlib.get_logger("ws_gateway.client")

REPLY_LARGE_BYTES = 131_072
"""A reply over this is written in pieces as the socket drains: it was asked for, and is no sign of a slow client."""

HELD_MAX_BYTES = 1_048_576
"""What may come on server-side channels before the connect is answered; over it the client has to come again."""


class _Held:
    """The hub's way in while server-side subscriptions of a connect are made: kept until the connect is answered.

    A client that comes back would take what is live now for what follows the position it had.
    """

    __slots__ = ("_bytes", "_connection", "_frames")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._frames: list[bytes] | None = []
        self._bytes = 0

    def write(self, frames: bytes) -> None:
        """Keep ready bytes; once released, write them: a slice of the hub may be under way."""
        if self._frames is None:
            self._connection.write(frames)
            return
        self._frames.append(frames)
        self._bytes += len(frames)
        if self._bytes > HELD_MAX_BYTES:
            self._frames.clear()
            self._connection.lose(Lost.SESSION, "too much came before the connect was answered")

    def release(self) -> None:
        """Write what was kept."""
        frames, self._frames = self._frames, None
        for each in frames or ():
            self._connection.write(each)


class Client:
    """One connection of the client protocol.

    Args:
        scope: the handshake's, for whom a session cookie identifies; None otherwise: it is kept until the connect.
        says_why: the transport has no close codes: a disconnect push tells the client.
    """

    __slots__ = (
        "_connection", "_format", "_gateway", "_held", "_is_gone", "_is_known", "_publishing", "_says_why",
        "_scheduled", "_scope", "due", "session", "write",
    )  # fmt: skip

    def __init__(
        self,
        gateway: Gateway,
        connection: Connection,
        format: Format,
        *,
        scope: dict[str, Any] | None,
        has_origin: bool,
        session: str = "",
        says_why: bool = False,
    ) -> None:
        self.due = 0
        self.write = connection.write  # the hub's way in: no call of ours between it and the socket
        self.session = Session(
            gateway.rules,
            gateway.new_id(),
            gateway.now(),
            session=session,
            may_use_cookie=scope is not None,
            has_origin=has_origin,
            first_ping=random.uniform(0.5, 1.0),  # noqa: S311 - spread, not secret
        )
        self._gateway = gateway
        self._connection = connection
        self._format = format
        self._scope = scope
        self._says_why = says_why
        self._held: _Held | None = None
        self._is_gone = False
        self._is_known = False
        self._scheduled = 0.0
        self._publishing: deque[Publish] | None = None  # made with the first: most clients only listen

    # The server's side

    def start(self) -> None:
        """Begin to wait for the connect command; called once the handshake has been answered, and always then."""
        self._gateway.rules.counts.connection_opened(self._format.kind)
        if not self._is_gone:
            self._reschedule()

    def received(self, message: str | bytes) -> None:
        """Take a frame."""
        raw = message.encode() if isinstance(message, str) else message
        is_text = isinstance(message, str)
        if is_text != (self._format.codec.name == "json"):
            self.session.close(DisconnectCode.INAPPROPRIATE_PROTOCOL)
        else:
            self.take(raw)
        self.run()

    def take(self, raw: bytes) -> None:
        """Give the commands of a frame to the session; :meth:`run` does what it wants."""
        session, now = self.session, self._gateway.now()
        self._gateway.rules.counts.received[self._format.kind[0]] += 1
        try:
            commands = self._format.codec.commands(raw)
        except FrameMalformed:
            session.close(DisconnectCode.BAD_REQUEST)
            return
        except FrameCrowded:
            session.close(DisconnectCode.TOO_MANY_REQUESTS)
            return
        for command in commands or (PONG,):  # an empty frame is not free either
            session.command(command, now, len(raw))

    def closed(self, code: int) -> None:
        """Leave everything."""
        self._is_gone = True
        self._gateway.rules.counts.connection_closed(self._format.kind)
        self._connection.unschedule(self)
        if self._is_known:
            self._gateway.clients.remove(self)
        self.session.closed()
        self.run()

    def drain_wait(self) -> bool:
        """The server wants the client gone: take no new command; tell whether it is still to get something."""
        session, hub = self.session, self._gateway.hub
        session.is_leaving = True
        return session.owes_answers or any(map(hub.is_writing, session.subscriptions))

    def drain(self) -> None:
        """The server leaves: come back elsewhere."""
        self.session.close(DisconnectCode.SHUTDOWN)
        self.run()

    def slow(self) -> None:
        """Too much waits for this client: come back and recover."""
        self.session.close(DisconnectCode.SLOW)
        self.run()

    def wake(self) -> None:
        """The server's clock: something is due."""
        self._scheduled = 0.0
        now = self._gateway.now()
        if self._connection.large_bytes:
            self.session.postpone_ping(now)  # it would wait behind the reply; the server watches that this drains
        self.session.tick(now)
        self.run()

    def position_lost(self, channel: str) -> None:
        """The hub has taken this client out of a channel; see :class:`ws_gateway.wires.PositionedMember`."""
        self.session.position_lost(channel)
        self.run()

    # The server API

    def disconnect(self, code: int, reason: str) -> None:
        """End the connection: 3500 to 3999 and 4500 to 4999 for good."""
        self.session.disconnect(code, reason, is_terminal=3500 <= code < 4000 or code >= 4500)
        self.run()

    def unsubscribe(self, channel: str) -> None:
        """End a subscription; "" is all of them."""
        self.session.unsubscribe_by_server(channel)
        self.run()

    def subscribe(self, channel: str, extra: SubsOptions, *, since: StreamPosition | None, expires_at: int) -> None:
        """Make a server-side subscription."""
        self.session.subscribe_by_server(channel, extra, since=since, expires_at=expires_at, now=self._gateway.now())
        self.run()

    def refresh(self, *, expires_at: int, info: JSON) -> None:
        """Set when the connection expires."""
        self.session.refresh_by_server(expires_at=expires_at, info=info, now=self._gateway.now())
        self.run()

    # Doing what the session wants

    def run(self) -> None:
        """Do what the session wants, and write what it says: in one write where it can be."""
        replies: list[bytes] = []
        while outs := self.session.take():
            for out in outs:
                if type(out) is Reply:
                    replies.append(self._format.codec.reply(out))
                else:
                    self._do(out, replies)
        self._flush(replies)
        if not self._is_gone:
            if self.session.is_connected and not self._is_known:
                self._is_known = True
                self._scope = None  # nobody needs it any more
                self._gateway.clients.add(self)
                if self._held is not None and not self.session.is_closed:
                    self._release(self._held)
            self._reschedule()

    def _do(self, out: Out, replies: list[bytes]) -> None:
        if type(out) is Join:
            self._join(out)
        elif type(out) is Leave:
            self._leave(out)
        elif type(out) is Close:
            self._close(out, replies)
        elif type(out) is Publish:
            self._publish(out)
        elif type(out) is Deliver:
            replies += [self._format.codec.push(out.channel, bytes(inside)) for inside in out.publications]
        elif isinstance(out, (FetchKeys, Identify, ReadHistory, ReadPresence, Call)):
            self._gateway.start_task(effects.run(self._gateway, self, out, self._scope))

    def _flush(self, replies: list[bytes]) -> None:
        if not replies:
            return
        # A long history is not compressed: that would hold the loop, for one client.
        is_large = sum(map(len, replies)) > REPLY_LARGE_BYTES
        frames = (self._format.plain if is_large else self._format).frames(replies)
        if len(frames) > REPLY_LARGE_BYTES:
            self._connection.write_large([frames])
        else:
            self._connection.write(frames)
        replies.clear()

    def _close(self, close: Close, replies: list[bytes]) -> None:
        if self._says_why:
            why = Disconnect(code=close.code, reason=close.reason, reconnect=not close.is_terminal)
            replies.append(self._format.codec.reply(Reply(push=Push(disconnect=why))))
        self._flush(replies)
        log.info(
            "connection.closing",
            close_code=close.code,
            user=self.session.user,
            client_id=self.session.client,
            subscriptions=len(self.session.subscriptions),
        )
        self._connection.close(close.code, close.reason)

    def _reschedule(self) -> None:
        """Be woken when the session's next deadline comes; a later one than was scheduled needs nothing."""
        due = self.session.due
        if not self._scheduled or due < self._scheduled:
            self._scheduled = due
            self._connection.schedule(self, max(0.0, due - self._gateway.now()))

    # Channels

    def _join(self, join: Join) -> None:
        gateway = self._gateway
        presence = join.subscription.has_presence or join.subscription.tells_joins
        if join.since is not None or presence:
            gateway.start_task(effects.join(gateway, self, join))
        elif gateway.hub.is_ready(join.channel):
            self.joined(join, None)
        else:
            gateway.joins.add(self, join)

    def joined(self, join: Join, recovered: Recovered | None) -> None:
        """Become a member, in this very turn of the loop: nothing is missed, nothing comes twice."""
        hub, codec, subscription = self._gateway.hub, self._format.codec, join.subscription
        offset, epoch = hub.position(join.channel)
        result = SubscribeResult(epoch=epoch, offset=offset) if epoch else SubscribeResult()
        if recovered is not None:
            result.was_recovering, result.recovered = True, recovered.ok
            wanted = subscription.wanted(recovered.publications)
            result.publications = codec.kept(wanted, as_text=subscription.is_delta)
        options = self._gateway.config.options_of(join.channel)
        subscription.wire = self._format.wire(subscription, deltas_all=options.delta_publish)
        if not self.session.is_connected and self._held is None:
            self._held = _Held(self._connection)
            self.write = self._held.write
        hub.join(join.channel, self, subscription.wire)
        self.session.joined(join, result, self._gateway.now())

    def _release(self, held: _Held) -> None:
        """The connect has been answered: from now on the hub writes to the connection itself."""
        self._held = None
        self.write = self._connection.write
        for channel, subscription in self.session.subscriptions.items():
            if subscription.wire is not None:
                self._gateway.hub.join(channel, self, subscription.wire)  # a member already: the way in is new
        held.release()

    @property
    def codec(self) -> Codec:
        """How this client's replies are encoded."""
        return self._format.codec

    @property
    def is_gone(self) -> bool:
        """Whether the connection is closed: what was under way for it is for nobody."""
        return self._is_gone or self.session.is_closed

    def _leave(self, leave: Leave) -> None:
        subscription = leave.subscription
        if subscription.wire is not None:
            self._gateway.hub.leave(leave.channel, self, subscription.wire)
        if subscription.has_presence or subscription.tells_joins:
            self._gateway.presence.left(
                leave.channel,
                self.session.client,
                self.session.client_info(subscription),
                is_kept=subscription.has_presence,
                is_told=subscription.tells_joins,
            )

    # Publishing, in the order asked for

    def _publish(self, effect: Publish) -> None:
        if self._publishing is None:
            self._publishing = deque()
        self._publishing.append(effect)
        if len(self._publishing) == 1:  # else the task that sends the one before goes on with it
            self._gateway.start_task(self._publish_all(self._publishing))

    async def _publish_all(self, waiting: deque[Publish]) -> None:
        while waiting:
            effect = waiting[0]
            failure: ClarionError | None = None
            try:
                message = publication(effect.data, info=self._author(effect.channel))
                await self._gateway.layer.publication_send(effect.channel, message)
                self._gateway.rules.counts.published += 1
            except ClarionError as exc:
                failure = exc
            except Exception:
                log.exception("publish.failed", channel=effect.channel)
                failure = ClarionError()
            finally:
                waiting.popleft()
            self._gateway.rules.counts.unpublished += failure is not None
            self.session.published(effect, failure)
            self.run()

    def _author(self, channel: str) -> dict[str, Any]:
        return self.session.client_info(self.session.subscriptions.get(channel))
