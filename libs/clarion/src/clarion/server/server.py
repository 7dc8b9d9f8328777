"""The server: daphne's, with a WebSocket half of its own, a drain and limits."""

from __future__ import annotations

import asyncio
import inspect
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from daphne.server import Server as DaphneServer
from twisted.internet import defer
from twisted.internet import reactor as twisted_reactor
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import ISSLTransport
from twisted.logger import STDLibLogObserver, globalLogBeginner
from twisted.web.http import HTTPChannel
from websockets.frames import CloseCode

from clarion.server import listening, transports
from clarion.server.asgi import Application
from clarion.server.budget import Budget
from clarion.server.collector import Collector
from clarion.server.deflate import Deflate
from clarion.server.doorway import Doorway
from clarion.server.drain import Drain, DrainUnderWay
from clarion.server.handshake import Negotiator, Refused, refusal, scope_of
from clarion.server.http import RETRY_AFTER_S, Factory
from clarion.server.inbox import Inbox
from clarion.server.lifespan import Lifespan
from clarion.server.limits import Shared
from clarion.server.proxy import Address, ForwardedBy
from clarion.server.reactor import LogObserver, raise_file_limit, require_uvloop
from clarion.server.refusals import Refusal
from clarion.server.sniff import set_protocol
from clarion.server.stream import HttpStream
from clarion.server.websocket import WebSocket
from clarion.server.wheel import Wheel

log = logging.getLogger("clarion.server")

reactor: Any = twisted_reactor  # its annotations are those of interfaces, not of the object

DAY_S = 86400
MAX_INBOUND_BYTES = 2**20  # what may wait for one application
SPARE_FILES = 128  # descriptors that are not clients: databases, Redis, logs

_DAPHNES_OPTIONS = inspect.signature(DaphneServer.__init__)


class Server(DaphneServer):
    """Stands in for ``daphne.server.Server``: takes all that it takes.

    Args:
        max_connections: WebSockets and detached HTTP responses at once; beyond it a client gets 503 with Retry-After.
            Never more than the process may open files (trap 33).
        max_message_bytes: daphne's ``websocket_max_message_size`` (1 MiB; 0: no limit), beyond it 1009.
        max_queued_bytes: what may wait for one socket; beyond it the connection is given up.
        max_large_bytes: what may wait for one socket of replies that it has asked for (``Connection.write_large``).
        max_process_queued_bytes: both, for all sockets together.
        max_inbound: messages that may wait for an ASGI application before its socket is not read any more (nor is it
            while a megabyte waits).
        deflate: compress messages for clients that offer permessage-deflate; None: do not.
        drain_wait_s: how long new connections are still accepted after SIGTERM, until the balancer knows.
        drain_s: over which clients are told that they have to go, at a pace (fewer than 100 a second need less time).
        drain_grace_s: how long after the last one was told close handshakes, replies and handlers may take.
        shed_share: the share of the connections that SIGUSR2 sends away.
        backlog: connections that may wait to be accepted (the kernel caps it at ``net.core.somaxconn``).
        reuse_port: let several processes listen on one port.

    ``websocket_timeout`` is daphne's 86,400 s for sockets that an application drives. A detached session is cut by
    age only where the option is given (with 1012, so that its client comes back).
    """

    def __init__(
        self,
        *args: Any,
        max_connections: int | None = None,
        max_message_bytes: int | None = None,
        max_queued_bytes: int = 2**20,
        max_large_bytes: int = 64 * 2**20,
        max_process_queued_bytes: int = 256 * 2**20,
        max_inbound: int = 64,
        deflate: Deflate | None = None,
        drain_wait_s: float = 0.0,
        drain_s: float = 10.0,
        drain_grace_s: float = 10.0,
        shed_share: float = 0.5,
        backlog: int = 4096,
        reuse_port: bool = False,
        **options: Any,
    ) -> None:
        daphnes = _DAPHNES_OPTIONS.bind(self, *args, **options).arguments
        websocket_timeout: float | None = daphnes.get("websocket_timeout")
        if websocket_timeout is None:
            daphnes["websocket_timeout"] = DAY_S
        DaphneServer.__init__(**daphnes)
        if max_message_bytes is not None:
            self.websocket_max_message_size = max_message_bytes
        self.max_connections = max_connections
        self.shed_share = shed_share
        self.backlog = backlog
        self.reuse_port = reuse_port
        self.listens = True  # False once nothing is taken on any more
        self.draining = False  # before that: it is about to leave
        self.on_drain: list[Callable[[], object]] = []
        self.on_goodbye: list[Callable[[], Awaitable[object]]] = []  # see Pace
        self.on_shutdown: list[Callable[[], Awaitable[None]]] = []
        self.ports: list[Any] = []
        self.connections: dict[Any, dict[str, Any]] = {}  # daphne's table: HTTP requests only (trap 27)
        self._negotiator = Negotiator(self.server_name)
        self._forwarded = ForwardedBy.named(
            self.proxy_forwarded_address_header, self.proxy_forwarded_port_header, self.proxy_forwarded_proto_header
        )
        # Ours, not daphne's reading of them: it takes what any client can write.
        self.proxy_forwarded_address_header: str | None = None
        self.head_timeout_s = _limit(self.websocket_handshake_timeout)
        wheel = Wheel()
        self.shared = Shared(
            loop=reactor._asyncioEventloop,
            wheel=wheel,
            budget=Budget(max_process_queued_bytes, wheel),
            max_message_bytes=self.websocket_max_message_size or None,
            max_frame_bytes=self.websocket_max_frame_size or None,
            max_queued_bytes=max_queued_bytes,
            max_large_bytes=max_large_bytes,
            max_inbound=max_inbound,
            connect_timeout_s=_limit(self.websocket_connect_timeout),
            ping_interval_s=self.ping_interval or None,
            ping_timeout_s=self.ping_timeout or None,
            lifetime_s=_limit(self.websocket_timeout),
            detached_lifetime_s=None if websocket_timeout is None else _limit(websocket_timeout),
            app_close_timeout_s=self.application_close_timeout,
            deflate=deflate,
        )
        self._drain = Drain(self, wait_s=drain_wait_s, over_s=drain_s, grace_s=drain_grace_s)
        self.collector = Collector(self.shared)
        # Two lines: a health check does not wait behind four thousand handshakes.
        self.websocket_door = Doorway(self.shared.loop)
        self.http_door = Doorway(self.shared.loop)

    # Lifecycle

    def run(self) -> None:
        """Listen and serve until a signal; return when the drain is done.

        Raises:
            ReactorUnsuitable: the reactor does not stand on uvloop.
        """
        loop = require_uvloop()
        asyncio.set_event_loop(loop)
        loop.set_debug(self.verbosity >= 3)
        files = raise_file_limit()
        cap = max(1, files - SPARE_FILES)
        self.max_connections = cap if self.max_connections is None else min(self.max_connections, cap)
        observer: Any = LogObserver() if self.verbosity <= 1 else STDLibLogObserver("clarion.server.twisted")
        globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)
        self.http_factory = Factory(self)
        lifespan = Lifespan(self.application)
        loop.run_until_complete(lifespan.startup())  # before anybody can connect
        self.on_shutdown.append(lifespan.shutdown)
        self._listen()
        reactor.callLater(1, self.application_checker)
        reactor.callLater(2, self.timeout_checker)
        reactor.addSystemEventTrigger("before", "shutdown", self.kill_all_applications)
        if self.abort_start:
            return
        self.shared.wheel.start(loop)
        reactor.callWhenRunning(self.collector.start, loop)
        if self.ready_callable:
            self.ready_callable()
        if self.signal_handlers:
            signal.signal(signal.SIGUSR2, lambda *_: loop.call_soon_threadsafe(self._shed_by_signal))
        reactor.run(installSignalHandlers=self.signal_handlers)

    def _listen(self) -> None:
        for endpoint in self.endpoints:
            opened = listening.endpoint(str(endpoint), self.backlog, reuse_port=self.reuse_port)
            listener = opened.listen(self.http_factory)
            listener.addCallback(self.listen_success)
            listener.addErrback(self.listen_error)
            self.listeners.append(listener)

    def listen_success(self, port: Any) -> None:
        """Keep the port: it must stop listening when the drain begins (trap 39)."""
        self.ports.append(port)
        transports.install(port)  # nothing has been accepted yet: the reactor does not run
        address = port.getHost()
        if hasattr(address, "host") and hasattr(address, "port"):
            self.listening_addresses.append((address.host, address.port))
            log.info("listening on %s:%s", address.host, address.port, extra={"event": "port.opened"})
        else:
            log.info("listening on %s", getattr(address, "name", address), extra={"event": "port.opened"})

    def listen_error(self, failure: Any) -> None:
        """Say why and do not start."""
        log.critical("cannot listen: %s", failure.getErrorMessage(), extra={"event": "port.failed"})
        self.stop()

    def kill_all_applications(self) -> defer.Deferred[Any]:
        """Drain; the reactor stops when the returned Deferred fires (trap 38)."""
        return defer.Deferred.fromFuture(self.shared.loop.create_task(self._drain.run()))

    def leave(self) -> None:
        """Drain and end, as on SIGTERM; on the event loop.

        Raises:
            DrainUnderWay: it is leaving already.
        """
        self._drain.is_asked_for = True
        try:
            reactor.stop()
        except ReactorNotRunning:
            raise DrainUnderWay from None

    def shed(self, share: float) -> int:
        """Send a share of the clients away and serve on; see :meth:`Drain.shed`."""
        return self._drain.shed(share)

    def _shed_by_signal(self) -> None:
        try:
            self.shed(self.shed_share)
        except DrainUnderWay:
            log.warning("SIGUSR2 is ignored: clients are being sent away already", extra={"event": "signal.ignored"})

    def running_applications(self) -> list[asyncio.Future[Any]]:
        """Return the tasks of all applications that have not returned."""
        tasks: list[asyncio.Future[Any]] = [run.task for run in self.shared.applications if run.task is not None]
        tasks += [task for entry in self.connections.values() if (task := entry.get("application_instance"))]
        return [task for task in tasks if not task.done()]

    def has_unwritten(self) -> bool:
        """Tell whether any socket, HTTP's too, still has bytes to write."""
        return bool(reactor.getWriters())

    def disconnect_streams(self) -> None:
        """Tell HTTP applications that still answer to stop."""
        for request in list(self.connections):
            queue = getattr(request, "application_queue", None)
            if queue is not None:
                queue.put_nowait({"type": "http.disconnect"})

    @property
    def why_refused(self) -> str | None:
        """Why no connection is taken on now, if so."""
        if not self.listens:
            return "the server is restarting"
        full = self.max_connections is not None and len(self.shared.sockets) >= self.max_connections
        return "too many connections" if full else None

    def count_refused(self) -> None:
        """Count a connection that was not taken on because of :attr:`why_refused`."""
        self.shared.refusals[Refusal.DRAINING if self.draining else Refusal.TOO_MANY_CONNECTIONS] += 1

    # WebSockets

    def begin_websocket(self, transport: Any, head: bytes, early: bytes) -> None:
        """Take a connection whose request asks for an upgrade; ``early`` is what came behind the request."""
        shared = self.shared
        why = self.why_refused
        peer = _address(transport.getPeer())
        socket = WebSocket(shared, transport, peer, early)
        set_protocol(transport, socket)
        if why is not None:
            self.count_refused()
            socket.deny(refusal(HTTPStatus.SERVICE_UNAVAILABLE, why, [("Retry-After", RETRY_AFTER_S)]))
            return
        try:
            request, answer = self._negotiator.judge(head)
        except Refused as exc:
            shared.refusals[Refusal.MALFORMED] += 1
            socket.deny(exc.response)
            return
        agreement = None if shared.deflate is None else shared.deflate.agree(request.headers)
        if agreement is not None:
            answer.headers["Sec-WebSocket-Extensions"] = agreement.header
        scope = scope_of(request, secure=ISSLTransport(transport, None) is not None, root_path=self.root_path)
        self._address(scope, peer, _address(transport.getHost()), socket)
        if self.action_logger:
            socket.access = self._access_log(socket, scope["path"])
            socket.access("connecting")
        if agreement is not None:
            scope["extensions"]["clarion.deflate"] = shared.deflate
        inbox = Inbox(shared.loop, shared.max_inbound, MAX_INBOUND_BYTES)
        application = Application(shared, socket, answer, scope["subprotocols"], inbox, agreement)
        application.start(self.application, scope)

    def _address(self, scope: dict[str, Any], peer: Address | None, host: Address | None, socket: WebSocket) -> None:
        """Complete a scope with addresses and what the server offers."""
        headers = scope["headers"]
        client = self._forwarded.client(headers, peer)
        if self._forwarded.is_secure(headers, scope["scheme"] == "wss"):
            scope["scheme"] = "wss"
        socket.client = client
        scope["client"] = None if client is None else list(client)
        scope["server"] = None if host is None else list(host)
        scope["extensions"] = {"websocket.http.response": {}, "clarion.connection": socket}

    # Daphne's sweeps, which now see HTTP requests only

    def application_checker(self) -> None:
        """Reap the HTTP applications that are done; each by itself, or one fault would end the sweep (trap 27)."""
        try:
            for request in list(self.connections):
                self._reap(request)
        finally:
            reactor.callLater(1, self.application_checker)

    def _reap(self, request: Any) -> None:
        try:
            self._check_application(request, self.connections.get(request, {}))
        except Exception:  # the next request is not to blame
            log.exception("a check of an HTTP application failed", extra={"event": "request_check.failed"})

    def _check_application(self, request: Any, entry: dict[str, Any]) -> None:
        left_at = entry.get("disconnected")
        task = entry.get("application_instance")
        if task is not None and not task.done() and left_at and time.time() - left_at > self.application_close_timeout:
            log.warning(
                "application took too long to leave after its disconnect and was cancelled",
                extra={"event": "application.cancelled"},
            )
            task.cancel()
        if task is not None and task.done():
            del entry["application_instance"]
            failure = None if task.cancelled() else task.exception()
            if failure is not None:
                log.error(
                    "exception inside the application: %r",
                    failure,
                    exc_info=failure,
                    extra={"event": "application.failed"},
                )
                if not left_at:
                    request.handle_exception(failure)
            task = None
        if task is None and "detached" in entry:
            request.stream.application_returned()
            self.connections.pop(request, None)
        elif task is None and left_at:
            self.connections.pop(request, None)

    def timeout_checker(self) -> None:
        """Check the HTTP timeouts; each by itself (trap 27)."""
        try:
            for request in list(self.connections):
                try:
                    request.check_timeouts()
                except Exception:  # the next request is not to blame
                    log.exception("a check of an HTTP request failed", extra={"event": "request_check.failed"})
        finally:
            reactor.callLater(2, self.timeout_checker)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Start the application of an HTTP request, with the client's address as the proxy gives it."""
        headers = scope["headers"]
        peer = scope["client"]
        client = self._forwarded.client(headers, None if peer is None else (peer[0], peer[1]))
        scope["client"] = protocol.client_addr = None if client is None else list(client)
        if self._forwarded.is_secure(headers, scope["scheme"] == "https"):
            scope["scheme"] = "https"
        if type(protocol.channel) is HTTPChannel:
            is_chunked = protocol.clientproto == b"HTTP/1.1" and protocol.method != b"HEAD"
            protocol.stream = HttpStream(self.shared, client, is_chunked=is_chunked)
            scope["extensions"] = {"clarion.connection": protocol.stream}
        queue = super().create_application(protocol, scope)
        if (task := self.connections.get(protocol, {}).get("application_instance")) is not None:
            # At once: the sweep would answer an exception up to a second later.
            task.add_done_callback(lambda _: self._reap(protocol))
        return queue

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Do what the application of an HTTP request says.

        Raises:
            ValueError: the message is malformed, or not in place here.
        """
        session = message.get("clarion.session")
        if session is None or message.get("type") != "http.response.start":
            await super().handle_reply(protocol, message)
        elif "disconnected" in self.connections.get(protocol, {"disconnected": None}) and protocol.stream is not None:
            protocol.stream.refuse(session, CloseCode.ABNORMAL_CLOSURE)  # lost meanwhile: never attached (trap 1)
        else:
            self.check_headers_type(message)
            protocol.detach(message, session)

    # The access log

    def _access_log(self, socket: WebSocket, path: str) -> Callable[[str], object]:
        client = "{}:{}".format(*socket.client) if socket.client else None
        return lambda action: self.log_action("websocket", action, {"path": path, "client": client})

    def log_action(self, protocol: Any, action: str, details: dict[str, Any]) -> None:
        """Write a line of the access log, without the query string: a token may stand there."""
        super().log_action(protocol, action, details | {"path": details["path"].partition("?")[0]})


def _limit(seconds: float | None) -> float | None:
    """Daphne's -1 for "no limit"."""
    return None if seconds is None or seconds < 0 else seconds


def _address(address: Any) -> Address | None:
    """Return an IP address and port, or None for a unix socket."""
    if hasattr(address, "host") and hasattr(address, "port"):
        return str(address.host), address.port
    return None
