"""Daphne's HTTP half, with its door to the WebSocket half and its proxy headers replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daphne.http_protocol import HTTPFactory, WebRequest
from twisted.web.http import HTTPChannel

from clarion.server.handshake import head_bytes
from clarion.server.sniff import FirstBytes, set_protocol

if TYPE_CHECKING:
    from clarion.server.server import Server

# nginx keeps an upstream connection idle for 60 s, as long as Twisted does: who closes first would be a race, and
# the loser a failed request (trap 31).
KEEP_ALIVE_S = 75.0


class HttpRequest(WebRequest):
    """One HTTP request; an upgrade on a kept-alive connection leaves for the WebSocket half."""

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
        """Take the transport from the channel, whole: its timer, its producer, the bytes behind the request.

        Daphne leaves the channel registered as the transport's producer, which makes a later close hang (trap 7),
        and the frames that came with the request in the channel's buffers (trap 28).
        """
        head = head_bytes(self.method, self.uri, self.clientproto, self.requestHeaders.getAllRawHeaders())
        behind = b"".join(channel._dataBuffer) + channel._buffer
        channel._dataBuffer = []
        channel._buffer = b""
        channel.setTimeout(None)
        channel.requests.remove(self)
        channel._networkProducer.unregisterProducer()
        transport, self.transport = channel.transport, None
        self.server.connections.pop(self, None)
        self.server.begin_websocket(transport, head, behind)


class Factory(HTTPFactory):
    """Builds a :class:`FirstBytes` for each connection; daphne's HTTP protocol where it turns out to be HTTP.

    It stays an HTTPFactory, since TLS asks it which protocols it speaks (``acceptableProtocols``, trap 29).
    """

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.timeOut = KEEP_ALIVE_S

    def buildProtocol(self, addr: Any) -> FirstBytes:  # noqa: N802
        """Build the protocol of a connection that has not said anything yet."""
        shared = self.server.shared
        return FirstBytes(shared.wheel, self.server.head_timeout_s, self.server.begin_websocket, self.begin_http)

    def begin_http(self, transport: Any, data: bytes) -> None:
        """Give a connection with its first bytes to daphne's HTTP protocol."""
        protocol = super().buildProtocol(transport.getPeer())
        protocol.requestFactory = HttpRequest
        # In this order: `makeConnection` registers a producer and the timeout, then the bytes may answer.
        set_protocol(transport, protocol)
        protocol.makeConnection(transport)
        protocol.dataReceived(data)
