"""Daphne's HTTP half: its door to the WebSocket half is replaced, and an application may detach from a response."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.web.http import HTTPChannel
from websockets.frames import CloseCode

from clarion.server.handshake import head_bytes
from clarion.server.sniff import FirstBytes, set_protocol
from clarion.server.stream import HttpStream, response_head

if TYPE_CHECKING:
    from clarion.server.proxy import Address
    from clarion.server.server import Server
    from clarion.server.session import StreamSession

# nginx keeps an upstream connection idle for 60 s, as long as Twisted does: who closes first would be a race, and
# the loser a failed request (trap 31).
KEEP_ALIVE_S = 75.0
RETRY_AFTER_S: Final = "5"


class HttpRequest(WebRequest):
    """One HTTP request; an upgrade on a kept-alive connection leaves for the WebSocket half.

    Once its application has detached, only that run is left of it: it is the stream's driver until the run ends
    (trap 48).
    """

    stream: HttpStream | None = None  # what the response becomes if the application detaches; None on HTTP/2
    is_detached = False
    channel: Any
    _response_started: bool

    def process(self) -> Any:
        """Answer, or hand the connection over."""
        values = self.requestHeaders.getRawHeaders(b"Upgrade")
        if values and values[0].lower() == b"websocket" and type(self.channel) is HTTPChannel:
            return self._upgrade(self.channel)
        # Whoever can send it could move the application's root.
        self.requestHeaders.removeHeader(b"Daphne-Root-Path")
        if self.server.draining:
            self.channel.persistent = False
            self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        return super().process()

    def _upgrade(self, channel: HTTPChannel) -> None:
        head = head_bytes(self.method, self.uri, self.clientproto, self.requestHeaders.getAllRawHeaders())
        transport, behind = self._take(channel)
        self.server.connections.pop(self, None)
        self.server.begin_websocket(transport, head, behind)

    def _take(self, channel: HTTPChannel) -> tuple[Any, bytes]:
        """Take the transport from the channel, whole: its timer, its producer, the bytes behind the request.

        Daphne leaves the channel registered as the transport's producer, which makes a later close hang (trap 7),
        and the frames that came with the request in the channel's buffers (trap 28).
        """
        behind = b"".join(channel._dataBuffer) + channel._buffer
        channel._dataBuffer = []
        channel._buffer = b""
        channel.setTimeout(None)
        channel.requests.remove(self)
        channel._networkProducer.unregisterProducer()
        transport, self.transport, self.channel = channel.transport, None, None
        return transport, behind

    # The application detaches

    def detach(self, message: dict[str, Any], session: StreamSession) -> None:
        """Send the response's head and give the connection to a session.

        Raises:
            ValueError: the response has begun, or its head is malformed; nothing was sent.
        """
        stream, server = self.stream, self.server
        if stream is None or self._response_started:
            raise ValueError("this response cannot be detached" if stream is None else "the response has begun already")
        head = response_head(
            int(message["status"]),
            message.get("headers") or (),
            server_name=server.server_name,
            is_chunked=stream.is_chunked,
        )
        if (why := server.why_refused) is not None:
            server.count_refused()
            self._refuse(why)
            stream.refuse(session, CloseCode.TRY_AGAIN_LATER if server.listens else CloseCode.SERVICE_RESTART)
            return
        if server.action_logger:
            stream.access = self._access_log(stream.client, int(message["status"]))
        self._response_started = True
        transport, _ = self._take(self.channel)
        self.content.close()
        self.is_detached = server.connections[self]["detached"] = True
        stream.begin(transport, head, session, self)
        if self.method == b"HEAD":
            stream.close()

    def _refuse(self, why: str) -> None:
        headers = [
            (b"Retry-After", RETRY_AFTER_S.encode()),
            (b"Content-Type", b"text/plain"),
            (b"Connection", b"close"),
        ]
        self.channel.persistent = False
        self.handle_reply({"type": "http.response.start", "status": 503, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": f"{why}\n".encode()})

    def _access_log(self, client: Address | None, status: int) -> Callable[[str], object]:
        details = {"path": self.uri.decode("ascii", "replace"), "method": self.method.decode("ascii", "replace")}
        details |= {"client": "{}:{}".format(*client) if client else None, "status": status, "size": None}
        began, server = self.request_start, self.server
        return lambda action: server.log_action("http", action, {**details, "time_taken": time.time() - began})

    def ended(self, code: int, reason: str) -> None:
        """The stream is gone, and the application still runs: tell it, and give it a time to leave."""
        if self in self.server.connections:  # it may have returned in this very turn
            self.send_disconnect()
            self.server.protocol_disconnected(self)

    def handle_exception(self, exception: BaseException) -> None:
        """Answer for an application that failed."""
        if self.is_detached and self.stream is not None:
            self.stream.fail(CloseCode.INTERNAL_ERROR)
        elif self._response_started:  # too late for a 500, and the client would wait for ever (trap 47)
            self.channel.transport.abortConnection()
        else:
            super().handle_exception(exception)

    def check_timeouts(self) -> None:
        """Cut an application that takes too long to answer; one that has detached has answered."""
        if not self.is_detached:
            super().check_timeouts()


class Factory(HTTPFactory):
    """Builds a :class:`FirstBytes` for each connection; daphne's HTTP protocol where it turns out to be HTTP.

    It stays an HTTPFactory, since TLS asks it which protocols it speaks (``acceptableProtocols``, trap 29).
    """

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.timeOut = KEEP_ALIVE_S

    def buildProtocol(self, addr: Any) -> FirstBytes:  # noqa: N802
        """Build the protocol of a connection that has not said anything yet."""
        return FirstBytes(self.server)

    def begin_http(self, transport: Any, data: bytes) -> None:
        """Give a connection with its first bytes to daphne's HTTP protocol."""
        protocol = super().buildProtocol(transport.getPeer())
        protocol.requestFactory = HttpRequest
        # In this order: `makeConnection` registers a producer and the timeout, then the bytes may answer.
        set_protocol(transport, protocol)
        protocol.makeConnection(transport)
        protocol.dataReceived(data)
