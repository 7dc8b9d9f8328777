"""The state of one connection of the client protocol, sans I/O.

The driver gives it decoded commands (:meth:`Session.command`), results of effects, and the time (:meth:`Session.tick`);
after each call it takes what there is to say and to do (:meth:`Session.take`), in that order.

A command on a channel whose subscribe is still under way waits for it; commands that come before the connect command
has been answered wait for that. Replies carry the command's id.

Source: docs/protocol.md; ADR-0007.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, Final

import structlog

from clarion.codes import DisconnectCode, UnsubscribeCode
from clarion.errors import ClarionError, MethodNotFound, TooManyRequests
from clarion.namespaces import ClarionConfig
from clarion.tokens import TokenVerifier
from ws_gateway.allowance import REFUSED_MAX, allowance_left
from ws_gateway.counts import Counts, count
from ws_gateway.protocol import connecting, reading, subscribing, verifying
from ws_gateway.protocol.commands import (
    Command,
    ConnectRequest,
    HistoryRequest,
    PingRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RefreshRequest,
    Request,
    RPCRequest,
    SendRequest,
    SubRefreshRequest,
    SubscribeRequest,
    UnsubscribeRequest,
    request_of,
)
from ws_gateway.protocol.effects import Close, Leave, Out
from ws_gateway.protocol.replies import Error, PingResult, Push, Reply, Unsubscribe
from ws_gateway.protocol.subscriptions import Subscription

log = structlog.stdlib.get_logger("ws_gateway.protocol")

UNDER_WAY_MAX: Final = 64
"""Commands of one connection that may wait for an answer from elsewhere; over it they get error 111."""

WAITING_BYTES_MAX: Final = 131_072
"""Bytes of a frame whose commands may wait for another's answer; those of a larger one get error 111."""

ERRORS_MAX: Final = 100
"""Errors in a row, without one good reply, after which a client is sent away with 3509."""

PING: Final = Reply()


class Rules:
    """What all sessions of a process share.

    Attributes:
        wall: seconds since 1970, for tokens; a session's own clock only has to be steady.
        connections_of: connections that a user has here now.
        counts: what all of them count.
    """

    __slots__ = ("config", "connections_of", "counts", "methods", "node", "verifier", "version", "wall")

    def __init__(
        self,
        config: ClarionConfig,
        verifier: TokenVerifier,
        *,
        node: str,
        version: str,
        methods: Container[str],
        wall: Callable[[], float],
        connections_of: Callable[[str], int],
    ) -> None:
        self.config = config
        self.verifier = verifier
        self.node = node
        self.version = version
        self.methods = methods
        self.wall = wall
        self.connections_of = connections_of
        self.counts = Counts()


class Session:
    """One connection.

    Args:
        client: the connection's id, which others see.
        now: seconds of the driver's clock.
        session: what a client of an emulation transport names in ``/emulation``; "" for others.
        may_use_cookie: the request came from an allowed origin and holds a session cookie.
        has_origin: the request came from a page of an allowed origin; else only a token identifies it.
        first_ping: the part of the ping interval after which the first one is due: a random number spreads them.

    Attributes:
        user: the user id; "" is anonymous. Meaningful once ``is_connected``.
        info: ``conn_info``: what others see of the connection.
        meta: what the token says of it to the application alone.
        is_leaving: the client is about to be sent away: what it has asked for is answered, nothing more is taken.
        subscriptions: by channel.
        waiting: commands by the channel whose subscribe they wait for; under "" those that wait for the connect.
        paging: channels whose history the client is reading from a position on.
        key_failure: while a command is taken again whose token waited for its key: what is said if it is not here.
        server_joins: whom to tell of server-side subscriptions that are under way, by channel.
        unwanted: channels whose subscribe is under way, and that the server has unsubscribed meanwhile.
        due: when :meth:`tick` is wanted next, on the driver's clock.
    """

    __slots__ = (
        "_allowance", "_allowed_at", "_errors", "_outs", "_size", "_under_way", "client", "connect_id", "due",
        "expires_at", "first_ping", "has_origin", "info", "is_closed", "is_connected", "is_leaving", "key_failure",
        "may_use_cookie", "meta", "now", "paging", "ping_due", "pong_due", "rules", "server_joins", "session",
        "started_at", "subscriptions", "unwanted", "user", "waiting",
    )  # fmt: skip

    def __init__(
        self,
        rules: Rules,
        client: str,
        now: float,
        *,
        session: str = "",
        may_use_cookie: bool = False,
        has_origin: bool = False,
        first_ping: float = 1.0,
    ) -> None:
        self.rules = rules
        self.client = client
        self.session = session
        self.may_use_cookie = may_use_cookie
        self.has_origin = has_origin
        self.first_ping = first_ping
        self.paging: frozenset[str] = frozenset()
        self.key_failure: ClarionError | None = None
        self.server_joins: dict[str, subscribing.Joined | None] = {}
        self.user = ""
        self.info: Any = None
        self.meta: Any = None
        self.is_connected = False
        self.is_closed = False
        self.is_leaving = False
        self.connect_id = 0
        self.now = self.started_at = now
        self.expires_at = 0.0
        self.ping_due = self.pong_due = 0.0
        self.subscriptions: dict[str, Subscription] = {}
        self.waiting: dict[str, list[Command]] = {}
        self.unwanted = frozenset[str]()
        self.due = now + rules.config.client.stale_close_delay
        self._outs: list[Out] = []
        self._under_way = 0
        self._size = 0
        self._errors = 0
        self._allowance = float(rules.config.limits.commands_burst)
        self._allowed_at = now

    # What the driver takes

    def take(self) -> list[Out]:
        """What there is to say and to do, in this order; the list is the driver's."""
        outs, self._outs = self._outs, []
        return outs

    def say(self, reply: Reply) -> None:
        """Send a reply or a push."""
        self._outs.append(reply)

    def answer(self, reply: Reply) -> None:
        """Send a good reply to a command."""
        self._errors = 0
        if not self.is_closed:
            self._outs.append(reply)

    def do(self, effect: Out) -> None:
        """Have something done."""
        self._outs.append(effect)

    def close(self, code: DisconnectCode) -> None:
        """End the connection."""
        self.disconnect(int(code), code.reason, is_terminal=code.is_terminal)

    def disconnect(self, code: int, reason: str, *, is_terminal: bool) -> None:
        """End the connection with a code of the server API's caller."""
        if not self.is_closed:
            self.is_closed = True
            count(self.rules.counts.disconnects, code)
            self._outs.append(Close(code, reason, is_terminal))

    # What a client says

    def command(self, command: Command, now: float, size: int = 0) -> None:
        """Take one command of the client, out of a frame of so many bytes."""
        self.now = now
        self._size = size
        self.pong_due = 0.0  # whatever it says, it is alive
        if self.is_closed or self.is_leaving:
            return
        request = request_of(command)
        is_pong = request is None and not command.id
        self.rules.counts.commands[type(request)] += not is_pong
        if not self._is_allowed(now):
            self._refuse(command)
        elif is_pong:
            return  # counted all the same: nobody asks for thousands
        elif not command.id and type(request) is not SendRequest:
            self.close(DisconnectCode.BAD_REQUEST)
        elif request is None:
            self.fail(command.id, MethodNotFound())
        elif type(request) is ConnectRequest:
            self._connect(command, request)
        elif not self.is_connected and not self.connect_id:
            self.close(DisconnectCode.BAD_REQUEST)
        else:
            self._handle(command, request)

    def again(self, command: Command, now: float) -> None:
        """Take a command once more: what it waited for is there."""
        self.now = now
        self._size = 0
        request = request_of(command)
        if self.is_closed or request is None:
            return
        if type(request) is ConnectRequest:
            self._try(command, connecting.connect, request)
        elif not self.is_connected and not self.connect_id:
            self.close(DisconnectCode.BAD_REQUEST)  # it waited for a connect that was refused
        else:
            self._handle(command, request)

    def fail(self, id: int, exc: ClarionError) -> None:
        """Answer a command with an error; the connection stays, unless there were too many."""
        if self.is_closed:
            return
        self._errors += 1
        count(self.rules.counts.errors, exc.code)
        self._outs.append(
            Reply(id=id, error=Error(code=int(exc.protocol_code), message=exc.detail, temporary=exc.temporary))
        )
        if self._errors >= ERRORS_MAX:
            self.close(DisconnectCode.TOO_MANY_ERRORS)

    def _connect(self, command: Command, request: ConnectRequest) -> None:
        if self.is_connected or self.connect_id:
            self.close(DisconnectCode.BAD_REQUEST)
            return
        self.connect_id = command.id
        self.waiting[""] = []  # until it is answered: a key or a session may have to be fetched for that
        self._try(command, connecting.connect, request)

    def refuse_connect(self, id: int, exc: ClarionError) -> None:
        """Answer the connect command with an error: the client may try again, with another token."""
        self.connect_id = 0
        self.fail(id, exc)
        self.resume("")

    def _handle(self, command: Command, request: Request) -> None:
        channel = getattr(request, "channel", "")
        waiting = self.waiting.get(channel if self.is_connected else "")
        if waiting is not None:
            is_small = self._size <= WAITING_BYTES_MAX
            if is_small and sum(map(len, self.waiting.values())) < UNDER_WAY_MAX:
                waiting.append(command)
            else:
                self.fail(command.id, TooManyRequests())
            return
        self._try(command, _HANDLERS[type(request)], request)

    def _try(self, command: Command, handler: Handler, request: Any) -> None:
        self.attempt(command, lambda: handler(self, command, request))

    def attempt(self, command: Command, work: Callable[[], None]) -> None:
        """Do a command's work; what it raises is the command's answer."""
        try:
            work()
        except ClarionError as exc:
            if command.connect is not None:
                self.refuse_connect(command.id, exc)
            else:
                self.fail(command.id, exc)

    def _is_allowed(self, now: float) -> bool:
        self._allowance = allowance_left(self._allowance, now - self._allowed_at, self.rules.config.limits)
        self._allowed_at = now
        return self._allowance >= 0

    def _refuse(self, command: Command) -> None:
        """Say so first; who goes on all the same is sent away."""
        if self._allowance < -REFUSED_MAX:
            self.close(DisconnectCode.TOO_MANY_REQUESTS)
        elif command.id:
            self.fail(command.id, TooManyRequests())

    # Work under way

    def begin(self) -> None:
        """Count a command that waits for an answer from elsewhere.

        Raises:
            TooManyRequests: protocol error 111.
        """
        if self._under_way >= UNDER_WAY_MAX:
            raise TooManyRequests
        self._under_way += 1

    def finish(self) -> None:
        """It was answered."""
        self._under_way -= 1

    @property
    def owes_answers(self) -> bool:
        """Whether commands of the client wait for an answer."""
        return self._under_way > 0 or bool(self.waiting)

    def resume(self, channel: str) -> None:
        """Take the commands that waited for a channel."""
        commands = self.waiting.pop(channel, ())
        if not self.waiting:
            self.waiting = {}  # the old one keeps the room that it once needed
        for command in commands:
            self.again(command, self.now)

    # What the driver and the server say

    def tick(self, now: float) -> None:
        """Do what is due; afterwards ``due`` says when to come again."""
        self.now = now
        if not self.is_closed:
            connecting.tick(self)

    def postpone_ping(self, now: float) -> None:
        """Count the connection as alive: the driver sees it take a large reply."""
        if self.is_connected:
            self.ping_due, self.pong_due = now + self.rules.config.client.ping_interval, 0.0

    def unsubscribe(self, channel: str, code: UnsubscribeCode, reason: str = "") -> None:
        """End a subscription and tell the client; nothing happens if there is none."""
        subscription = self.subscriptions.pop(channel, None)
        if subscription is not None:
            text = reason or code.name.lower().replace("_", " ")
            self.say(Reply(push=Push(channel=channel, unsubscribe=Unsubscribe(code=int(code), reason=text))))
            self.do(Leave(channel, subscription))

    def unsubscribe_by_server(self, channel: str) -> None:
        """End a subscription; one that is under way, as soon as it stands. "" is all of them."""
        for name in [channel] if channel else [*self.subscriptions, *self.waiting]:
            if name in self.subscriptions:
                self.unsubscribe(name, UnsubscribeCode.SERVER)
            elif name in self.waiting:
                self.unwanted |= {name}

    def position_lost(self, channel: str) -> None:
        """Events were lost to the client, and the stream cannot fill the gap."""
        subscription = self.subscriptions.get(channel)
        if subscription is None:
            return
        if subscription.is_server_side:
            self.close(DisconnectCode.INSUFFICIENT_STATE)
        else:
            self.unsubscribe(channel, UnsubscribeCode.INSUFFICIENT_STATE)

    def closed(self) -> None:
        """The connection is gone: leave everything; what there is to say is for nobody."""
        self.is_closed = True
        subscriptions, self.subscriptions = self.subscriptions, {}
        self.waiting = {}
        self._outs = [Leave(channel, subscription) for channel, subscription in subscriptions.items()]

    # Results of effects; see ws_gateway.protocol.effects

    keys_fetched = verifying.keys_fetched
    identified = connecting.identified
    set_due = connecting.set_due
    joined = subscribing.joined
    subscribe_by_server = subscribing.subscribe_by_server
    refresh_by_server = connecting.refresh_by_server
    join_failed = subscribing.join_failed
    published = reading.published
    history_read = reading.history_read
    presence_read = reading.presence_read
    called = reading.called

    def client_info(self, subscription: Subscription | None = None) -> dict[str, Any]:
        """Who this connection is, as others see it."""
        info: dict[str, Any] = {"user": self.user, "client": self.client}
        if self.info is not None:
            info["conn_info"] = self.info
        if subscription is not None and subscription.info is not None:
            info["chan_info"] = subscription.info
        return info


def _ping(session: Session, command: Command, _request: PingRequest) -> None:
    session.answer(Reply(id=command.id, ping=PingResult()))


def _send(_session: Session, _command: Command, _request: SendRequest) -> None:
    """Nothing in Clarion takes such messages; the protocol gives them no reply."""


Handler = Callable[[Session, Command, Any], None]

_HANDLERS: Final[dict[type, Handler]] = {
    SubscribeRequest: subscribing.subscribe,
    UnsubscribeRequest: subscribing.unsubscribe,
    SubRefreshRequest: subscribing.sub_refresh,
    RefreshRequest: connecting.refresh,
    PublishRequest: reading.publish,
    PresenceRequest: reading.presence,
    PresenceStatsRequest: reading.presence_stats,
    HistoryRequest: reading.history,
    RPCRequest: reading.rpc,
    PingRequest: _ping,
    SendRequest: _send,
}
