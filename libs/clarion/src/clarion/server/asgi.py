"""Drives an ASGI application over a WebSocket, until it returns or hands the socket to a session.

``websocket.accept`` takes three keys more than ASGI's: ``clarion.session`` (see :mod:`clarion.server.session`);
``clarion.max_size``, bytes of a message, in place of the server's limit; ``clarion.ping``, False for a protocol that
has pings of its own.

Source: the ASGI specification, "WebSocket", version 2.4, with its extension ``websocket.http.response``.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from http.client import responses
from typing import TYPE_CHECKING, Any

from websockets.datastructures import Headers
from websockets.frames import CloseCode
from websockets.http11 import Response

from clarion.server.frames import binary_frame, close_code, text_frame
from clarion.server.handshake import accepted, add_headers, refusal
from clarion.server.losses import Lost
from clarion.server.refusals import Refusal

if TYPE_CHECKING:
    from clarion.server.deflate import Agreement, Deflate
    from clarion.server.inbox import Inbox
    from clarion.server.limits import Shared
    from clarion.server.session import Session
    from clarion.server.websocket import WebSocket

log = logging.getLogger("clarion.server")

Message = dict[str, Any]
Asgi = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

WRITE_POLL_S = 0.02
WRITE_STALL_S = 5.0


class Disconnected(ConnectionError):
    """The socket was lost: nothing can be sent (ASGI 2.4 asks for an OSError, so that a sending loop ends)."""


class Phase(enum.Enum):
    """How far the application has answered."""

    CONNECTING = enum.auto()
    DENYING = enum.auto()  # a denial response has begun
    ACCEPTED = enum.auto()
    DETACHED = enum.auto()
    CLOSED = enum.auto()  # by the application: what it sends from here on is dropped, as daphne does


class Application:
    """One run of the application; the session of its own socket, unless it detaches."""

    __slots__ = ("_agreement", "_answer", "_inbox", "_offered", "_phase", "_shared", "_socket", "_task", "due")

    def __init__(
        self,
        shared: Shared,
        socket: WebSocket,
        answer: Response,
        offered: list[str],
        inbox: Inbox,
        agreement: Agreement | None = None,
    ) -> None:
        self.due = 0
        self._shared = shared
        self._socket = socket
        self._answer = answer  # the 101, which the application may add to
        self._agreement = agreement
        self._offered = offered
        self._inbox = inbox
        self._phase = Phase.CONNECTING
        self._task: asyncio.Task[None] | None = None

    def start(self, application: Asgi, scope: Message) -> None:
        """Run the application as a task; the socket waits for its answer."""
        self._inbox.put({"type": "websocket.connect"})
        self._socket.waits_for(self)
        self._shared.applications.add(self)
        self._task = self._shared.loop.create_task(_run(application, scope, self.receive, self.send))
        self._task.add_done_callback(self._returned)

    # The application's side

    async def receive(self) -> Message:
        """Return the next event; ``websocket.disconnect`` once, as the last one."""
        message = await self._inbox.get()
        if self._inbox.has_room:
            self._socket.start_reading()
        return message

    async def send(self, message: Message) -> None:
        """Do what the application says.

        Raises:
            Disconnected: the socket is lost.
            ValueError: the message is malformed, or not in place here.
        """
        kind = message["type"]
        if kind == "websocket.send":
            await self._send(message)
        elif kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close":
            self._close(message)
        elif kind == "websocket.http.response.start":
            self._deny_start(message)
        elif kind == "websocket.http.response.body":
            self._deny_body(message)
        else:
            raise ValueError(f"cannot handle message type {kind!r}")

    def _accept(self, message: Message) -> None:
        session: Session | None = message.get("clarion.session")
        if self._socket.is_ended:
            # Lost, timed out or drained meanwhile. An application finds its disconnect; a session must hear of it.
            if session is not None:
                self._phase = Phase.DETACHED
                self._socket.tell_lost(session)
            return
        if self._phase is not Phase.CONNECTING:
            raise ValueError("the connection was answered already")
        size = message.get("clarion.max_size")
        if not (size is None or (isinstance(size, int) and size > 0)):
            raise ValueError(f"clarion.max_size is a number of bytes, not {size!r}")
        answer = accepted(self._answer, self._offered, message.get("subprotocol"), message.get("headers") or ())
        self._phase = Phase.ACCEPTED if session is None else Phase.DETACHED
        has_pings = message.get("clarion.ping", True)
        self._socket.accept(
            answer,
            self if session is None else session,
            max_bytes=size,
            has_pings=has_pings,
            agreement=self._agreement,
        )

    async def _send(self, message: Message) -> None:
        if self._phase is Phase.CLOSED:
            return
        if self._phase in (Phase.CONNECTING, Phase.DENYING) and not self._socket.is_ended:
            raise ValueError("the socket has not been accepted, so nothing can be sent over it")
        frame = _frame(message, None if self._agreement is None else self._shared.deflate)
        if frame is None:
            return
        queued = self._socket.queued_bytes
        if queued and queued + len(frame) > self._shared.max_queued_bytes:
            await self._room(len(frame))
        if not self._socket.open or self._socket.is_slow:
            raise Disconnected("the WebSocket is closed")
        self._socket.write(frame)

    async def _room(self, size: int) -> None:
        """Wait while the client takes what waits; give it up when it takes nothing for five seconds."""
        socket = self._socket
        least = socket.queued_bytes
        stalled_s = 0.0
        while socket.open and (queued := socket.queued_bytes) and queued + size > self._shared.max_queued_bytes:
            if stalled_s >= WRITE_STALL_S:
                socket.too_slow()
                break
            await asyncio.sleep(WRITE_POLL_S)
            stalled_s = 0.0 if queued < least else stalled_s + WRITE_POLL_S
            least = min(least, queued)

    def _close(self, message: Message) -> None:
        if self._phase is Phase.CONNECTING:
            self._refuse(Refusal.DENIED, HTTPStatus.FORBIDDEN, "access denied")
        elif self._phase is not Phase.CLOSED:
            self._phase = Phase.CLOSED
            self._socket.close(close_code(message.get("code")), message.get("reason") or "")

    def _deny_start(self, message: Message) -> None:
        if self._phase is not Phase.CONNECTING:
            raise ValueError("the connection was answered already")
        status = int(message["status"])
        headers = Headers()
        add_headers(headers, message.get("headers") or (), besides=("content-length",))
        headers["Connection"] = "close"  # the body's end is the stream's end
        self._shared.refusals[Refusal.DENIED] += 1
        self._phase = Phase.DENYING
        self._socket.deny_start(Response(status, responses.get(status, ""), headers).serialize())

    def _deny_body(self, message: Message) -> None:
        if self._phase is not Phase.DENYING:
            raise ValueError("the denial response has not been started")
        self._socket.deny_start(message.get("body") or b"")
        if not message.get("more_body"):
            self._phase = Phase.CLOSED
            self._socket.deny_end()

    def _refuse(self, why: Refusal, status: HTTPStatus, text: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self._shared.refusals[why] += 1
        self._phase = Phase.CLOSED
        self._socket.deny(refusal(status, text, headers))

    def _returned(self, task: asyncio.Task[None]) -> None:
        """Settle the socket of an application that is done (trap 36): daphne leaves it open."""
        self._shared.applications.discard(self)
        self._shared.wheel.cancel(self)
        self._socket.application_returned()
        failure = None if task.cancelled() else task.exception()
        if failure is not None and not isinstance(failure, Disconnected):
            log.error(
                "exception inside the application: %r", failure, exc_info=failure, extra={"event": "application.failed"}
            )
        if self._phase in (Phase.CONNECTING, Phase.DENYING):
            if not self._socket.is_ended:
                self._answer_for(failure)
        elif failure is not None or task.cancelled():
            self._socket.fail(CloseCode.INTERNAL_ERROR)
        elif self._phase is not Phase.DETACHED:
            self._socket.close(CloseCode.NORMAL_CLOSURE)

    def _answer_for(self, failure: BaseException | None) -> None:
        if self._phase is Phase.DENYING:
            self._socket.deny_end()
            return
        if failure is None:
            log.error(
                "the application returned without an answer to the connection", extra={"event": "application.returned"}
            )
        self._refuse(Refusal.FAILED, HTTPStatus.INTERNAL_SERVER_ERROR, "internal server error")

    # The socket's side

    def received(self, message: str | bytes) -> None:
        """Put a message into the inbox; a full one stops the reading."""
        key = "text" if isinstance(message, str) else "bytes"
        self._inbox.put({"type": "websocket.receive", key: message}, len(message))
        if self._inbox.is_full:
            self._socket.stop_reading()

    def closed(self, code: int) -> None:
        """Nothing: :meth:`ended` says it, also to an application that detached and still runs."""

    def ended(self, code: int, reason: str) -> None:
        """Tell the application, and give it a time to leave."""
        self._inbox.put({"type": "websocket.disconnect", "code": code, "reason": reason})
        if self._task is not None and not self._task.done():
            self._shared.wheel.schedule(self, self._shared.app_close_timeout_s)

    def timed_out(self) -> None:
        """Refuse with 403, as daphne does, when the application does not answer in time."""
        log.warning(
            "an application did not answer a WebSocket handshake in time", extra={"event": "handshake.unanswered"}
        )
        if self._phase is Phase.CONNECTING:
            self._shared.lost[Lost.HANDSHAKE_LATE] += 1
            self._refuse(Refusal.NO_ANSWER, HTTPStatus.FORBIDDEN, "no answer in time")
        else:
            self._socket.lose(Lost.HANDSHAKE_LATE)

    def drain(self) -> None:
        """Refuse: the server is leaving, another replica will do."""
        if self._phase is Phase.CONNECTING:
            headers = (("Retry-After", "1"),)
            self._refuse(Refusal.DRAINING, HTTPStatus.SERVICE_UNAVAILABLE, "the server is restarting", headers)

    def drain_wait(self) -> bool:
        """Tell whether the application works on a message: it may still answer."""
        return not self._inbox.is_idle and self._phase is Phase.ACCEPTED

    def wake(self) -> None:
        """The application did not leave in time after the disconnect."""
        if self._task is not None and not self._task.done():
            log.warning(
                "application took too long to leave after its disconnect and was cancelled",
                extra={"event": "application.cancelled"},
            )
            self._task.cancel()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The running application."""
        return self._task


async def _run(application: Asgi, scope: Message, receive: Any, send: Any) -> None:
    await application(scope, receive, send)


def _frame(message: Message, deflate: Deflate | None) -> bytes | None:
    text, data = message.get("text"), message.get("bytes")
    if text is not None and data is not None:
        raise ValueError("a message has either bytes or text, not both")
    if text is not None:
        payload = text.encode()  # the empty text too, which daphne drops
        return text_frame(payload) if deflate is None else deflate.text_frame(payload)
    if data is None:
        return None
    return binary_frame(bytes(data)) if deflate is None else deflate.binary_frame(bytes(data))
