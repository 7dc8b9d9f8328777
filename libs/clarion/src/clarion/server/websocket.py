"""A WebSocket as Twisted's protocol: bytes in, messages to the session, pings, the close handshake."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any, Protocol

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN, SEND_EOF
from websockets.server import ServerProtocol

from clarion.server.connection import CLOSE_TIMEOUT_S, Connection, Driver
from clarion.server.frames import PING, close_code, close_reason
from clarion.server.handshake import quiet
from clarion.server.losses import Lost
from clarion.server.messages import Fragments, MessageInvalid, decoded, max_fragments
from clarion.server.wheel import TICK_S
from clarion.server.writer import call_soon

if TYPE_CHECKING:
    from websockets.http11 import Response

    from clarion.server.deflate import Agreement
    from clarion.server.limits import Shared
    from clarion.server.session import Session

log = logging.getLogger("clarion.server")

SLICE_BYTES = 4096
FRAMES_PER_TURN = 128
INFLATED_AS_FRAME = 8192  # bytes of an inflated message that count as a frame: a kilobyte can hold a megabyte (trap 53)
MAX_EARLY_BYTES = 65536
CONTROLS_PER_S = 100  # pings and pongs of one peer in the long run; a library sends one in some seconds
CONTROLS_BURST = 10_000


class WebSocketDriver(Driver, Protocol):
    """The same, for a socket that waits for the application's answer."""

    def timed_out(self) -> None:
        """The application did not accept in time."""

    def drain(self) -> None:
        """The server is leaving; the socket is not accepted yet."""


class WebSocket(Connection):
    """One socket from its upgrade request to its end.

    States: *waiting* for the application (no protocol yet, early bytes are held), *open*, *ending* (a Close was
    seen or sent, or the request refused: bytes are discarded until the peer hangs up or the deadline passes), *lost*.
    """

    __slots__ = (
        "_controls_s",
        "_fragments",
        "_heard",
        "_held",
        "_interval_s",
        "_patience",
        "_pinged",
        "_protocol",
        "_reading",
        "_unanswered",
    )
    _driver: WebSocketDriver | None
    _session: Session | None

    def __init__(self, shared: Shared, transport: Any, client: tuple[str, int] | None, early: bytes) -> None:
        super().__init__(shared, client)
        self._attach(transport)
        self._protocol: ServerProtocol | None = None
        self._fragments: Fragments | None = None
        self._controls_s = 0.0  # until when the control frames that came are as many as may come
        # Bytes that wait to be parsed: for the application's answer, for their turn, or for its inbox. None: parse
        # at once. Frames behind the request are not parsed before the 101, or a PING's pong would precede it and
        # a Close would make the answer impossible (trap 14).
        self._held: bytearray | None = bytearray(early)
        self._reading = True  # False while an ASGI application's inbox is full
        self._heard = shared.wheel.now
        self._interval_s = shared.ping_interval_s
        self._pinged = 0.0  # when the last ping was sent
        self._unanswered = 0.0  # when the first ping was sent since the peer was heard
        self._patience = shared.wheel.patience

    # The application's answer

    def waits_for(self, driver: WebSocketDriver) -> None:
        """Take the driver of the application that is about to answer."""
        self._driver = driver
        self._shared.sockets.add(self)
        if self._shared.connect_timeout_s is not None:
            self._shared.wheel.schedule(self, self._shared.connect_timeout_s)

    def accept(
        self,
        answer: bytes,
        session: Session,
        *,
        max_bytes: int | None = None,
        has_pings: bool = True,
        agreement: Agreement | None = None,
    ) -> None:
        """Send the 101 and give the socket to a session; what the client sent early follows from the event loop.

        Args:
            max_bytes: of a message, in place of the server's limits.
            has_pings: whether the server pings, and gives up a peer that does not answer.
            agreement: how the client may compress.
        """
        if self._transport is None:  # given up, and `connectionLost` is still to come
            self.tell_lost(session)
            return
        self._session = session
        shared = self._shared
        # A protocol of its own for the frames: the one of the handshake would keep the request (traps 11, 12).
        size = (max_bytes or shared.max_message_bytes, max_bytes or shared.max_frame_bytes)
        self._protocol = ServerProtocol(state=OPEN, max_size=size, logger=quiet)
        if agreement is not None:
            self._protocol.extensions = [agreement.extension()]
        self._begin()
        self.write(answer)
        if self.access is not None:
            self.access("connected")
        self._opened_at = shared.wheel.now
        if not has_pings:
            self._interval_s = None
        # Spread: 4,000 clients that came at once are not pinged at once.
        interval = self._interval_s
        self._sleep(None if interval is None else interval * random.uniform(0.5, 1))  # noqa: S311
        if self._held:
            call_soon(shared, self._go_on)
        else:
            self._held = None

    def deny(self, response: Response) -> None:
        """Answer with an HTTP response instead of the 101, and end."""
        self.deny_start(response.serialize())
        self.deny_end()

    def deny_start(self, data: bytes) -> None:
        """Send part of an HTTP response."""
        if self._transport is not None and not self._ended:
            self._queue(data)

    def deny_end(self) -> None:
        """The response is complete: half-close, and wait for the client to hang up."""
        if self._ended:
            return
        if self.access is not None:
            self.access("rejected")
        self._shut()
        self._end_stream()
        self._shared.sockets.discard(self)
        self._end(CloseCode.ABNORMAL_CLOSURE, later=True)
        self._shared.wheel.schedule(self, CLOSE_TIMEOUT_S)

    @property
    def is_waiting(self) -> bool:
        """The application has not answered yet."""
        return self._protocol is None and not self._ended

    # Outbound, beyond what every connection does

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start the close handshake; what was written before goes out before it.

        The peer has five seconds to take it and to answer. Codes and reasons that may not stand in a Close frame
        are clamped. A second call does nothing. ``session.closed`` follows from the event loop.
        """
        if not self.open:
            return
        assert self._protocol is not None
        # Through the protocol: a raw Close frame beside it makes it echo a second one (trap 17).
        self._protocol.send_close(close_code(code), close_reason(reason))
        self._flush()
        self._shut()
        self._closing()

    def fail(self, code: int, reason: str = "") -> None:
        """Close at once: a Close frame and the end of the stream, without waiting for the peer's (RFC 6455, 7.1.7)."""
        protocol = self._protocol
        self._fragments = None
        if self.open and protocol is not None:  # not if the peer's Close came in the same read
            protocol.fail(code, reason)
            self._flush()
            self._closing()

    def drain(self, *, is_last: bool) -> bool:
        """Close with 1012, or refuse; see :meth:`Connection.drain`."""
        if not self.is_waiting:
            return super().drain(is_last=is_last)
        if self._driver is not None:
            self._driver.drain()
        return True

    def _flush(self) -> None:
        """Send what the protocol wants to say: Close frames, pongs, the end of the stream."""
        assert self._protocol is not None
        said = self._protocol.data_to_send()
        if not said:
            return
        ends = said[-1] == SEND_EOF
        data = b"".join(said)
        if self.open:
            self.write(data)
        else:
            self._queue(data)
        if ends:
            self._shut()
            self._end_stream()

    # Twisted

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take bytes from the socket."""
        self._heard = self._shared.wheel.now
        if self._held is None:
            self._feed(data)
        elif not (self._ended and self._protocol is None):  # what follows a refusal is nobody's
            self._held += data
            # Reading is not paused while the application makes up its mind (trap 24), so this is the bound.
            if self._protocol is None and len(self._held) > MAX_EARLY_BYTES:
                self.lose(Lost.FLOOD)

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        """The socket is gone: tell whoever does not know yet, keep nothing."""
        self._held = None
        protocol = self._protocol
        if protocol is not None:
            # Reference cycles: the suspended generator, and a parser's error with its traceback (trap 13). That is
            # also why it is not told of the end (`receive_eof`): it would keep an EOFError.
            protocol.parser.close()
            protocol.parser_exc = None
            if self.access is not None:
                self.access("disconnected")
        super().connectionLost(reason)
        self._protocol = None

    # Bytes to frames

    def _feed(self, data: bytes | bytearray) -> None:
        """Parse in slices: 64 KiB of empty frames or pings block the loop for 25 ms (trap 21)."""
        protocol = self._protocol
        assert protocol is not None
        if len(data) <= SLICE_BYTES:
            protocol.receive_data(data)
            self._settle(protocol)
            if not self._reading:
                self._hold(b"")
            return
        count = 0
        for start in range(0, len(data), SLICE_BYTES):
            protocol.receive_data(data[start : start + SLICE_BYTES])
            count += self._settle(protocol)
            if count > FRAMES_PER_TURN or not self._reading:
                self._hold(data[start + SLICE_BYTES :])
                return

    def _settle(self, protocol: ServerProtocol) -> int:
        """Send what the protocol answers, then deliver; return the number of frames.

        Where messages may be compressed, a large one counts as several.

        In this order: with TEXT and Close in one read the state is CLOSING before the TEXT is delivered, and an
        answer that the session gives must not stand in the way of the Close's echo (trap 15).
        """
        events = protocol.events_received()
        if protocol.writes:
            self._flush()
        for frame in events:
            if self._ended:  # this side has closed: TEXT still arrives, and is not the session's any more (trap 16)
                break
            assert isinstance(frame, Frame)
            self._take(frame)
        if protocol.state is not OPEN and not self._ended:
            self._shut()
            self._closing()
        if protocol.extensions:
            return (
                len(events)
                + sum([len(frame.data) for frame in events if isinstance(frame, Frame)]) // INFLATED_AS_FRAME
            )
        return len(events)

    def _take(self, frame: Frame) -> None:
        try:
            message = self._message(frame)
        except MessageInvalid as exc:
            self.fail(exc.code, exc.reason)
            return
        if message is not None:
            assert self._session is not None
            try:
                self._session.received(message)
            except Exception:  # Twisted would hang up without a frame, and stock daphne without a log line (trap 26)
                log.exception("a session failed on a message; closing with 1011", extra={"event": "session.failed"})
                self.fail(CloseCode.INTERNAL_ERROR)

    def _message(self, frame: Frame) -> str | bytes | None:
        """Return the message that this frame completes.

        Raises:
            MessageInvalid: the connection must be failed.
        """
        opcode = frame.opcode
        if opcode is Opcode.CONT:
            assert self._fragments is not None
            assert self._protocol is not None
            message = self._fragments.add(frame, max_fragments(self._protocol.max_message_size))
            if frame.fin:
                self._fragments = None
            return message
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if not frame.fin:
                self._fragments = Fragments(frame)
                return None
            return decoded(frame.data) if opcode is Opcode.TEXT else bytes(frame.data)
        self._count_control()
        return None

    def _count_control(self) -> None:
        """Count a ping or pong: no session sees them, so nobody else can tell a flood (trap 56).

        Raises:
            MessageInvalid: there are too many.
        """
        now = self._shared.wheel.now
        self._controls_s = max(self._controls_s, now) + 1 / CONTROLS_PER_S
        if self._controls_s - now > CONTROLS_BURST / CONTROLS_PER_S:
            self._shared.lost[Lost.FLOOD] += 1
            raise MessageInvalid(CloseCode.POLICY_VIOLATION, "too many control frames")

    # Held bytes

    def _hold(self, rest: bytes | bytearray) -> None:
        """Keep bytes for another turn and do not read until they are parsed."""
        self._held = bytearray(rest)
        transport = self._transport
        if transport is not None:
            transport.pauseProducing()
        if self._reading:
            call_soon(self._shared, self._go_on)

    def _go_on(self) -> None:
        """Parse what was held; from the event loop, never from a task (trap 24)."""
        if self._held is None or self._protocol is None or not self._reading:
            return
        held, self._held = self._held, None
        if held:
            self._feed(held)
        if self._held is None and self._transport is not None:
            self._transport.resumeProducing()

    def stop_reading(self) -> None:
        """The inbox is full: parse no further slice, read no further byte."""
        self._reading = False

    def start_reading(self) -> None:
        """The inbox has room."""
        if not self._reading:
            self._reading = True
            self._heard = self._shared.wheel.now  # the peer's pongs were not read until now
            call_soon(self._shared, self._go_on)

    # The end

    def _closing(self) -> None:
        """A Close was seen or sent: the session leaves its groups now, the socket ends by itself or at the deadline."""
        self._end(CloseCode.ABNORMAL_CLOSURE, later=True)
        if self._transport is not None:
            self._shared.wheel.schedule(self, CLOSE_TIMEOUT_S)
        if not self._reading:  # the peer's Close is to be read, whatever the application does
            self.start_reading()

    def _end(self, code: int, reason: str = "", *, later: bool = False) -> None:
        """Tell the code and reason of the Close frame that went first, if one did: this side's, else the peer's.

        Not ``protocol.close_code``: that is None until the end, and 1006 after this side's own 1012 (trap 19).
        """
        protocol = self._protocol
        close = None if protocol is None else protocol.close_sent or protocol.close_rcvd
        if close is not None:
            code, reason = close.code, close.reason
        super()._end(code, reason, later=later)

    # Time

    def _check(self) -> None:
        if self._protocol is None:
            self._check_handshake()
        elif (left := self._lifetime_left(self._lifetime_s)) is not None and left <= 0:
            code = CloseCode.NORMAL_CLOSURE if self._is_driven else CloseCode.SERVICE_RESTART
            self.close(code, "the connection's lifetime is over")
        else:
            self._check_ping()

    def _sleep(self, delay_s: float | None) -> None:
        """Wake after a delay (None: nothing is due), or when the connection's lifetime is over."""
        left = self._lifetime_left(self._lifetime_s)
        if delay_s is None or (left is not None and left < delay_s):
            delay_s = left
        if delay_s is None:
            self._shared.wheel.cancel(self)
        else:
            self._shared.wheel.schedule(self, delay_s)

    @property
    def _lifetime_s(self) -> float | None:
        return self._shared.lifetime_s if self._is_driven else self._shared.detached_lifetime_s

    @property
    def _is_driven(self) -> bool:
        """The application runs, and is the session itself."""
        session: object = self._session
        return session is self._driver

    def _check_handshake(self) -> None:
        timeout = self._shared.connect_timeout_s
        assert timeout is not None
        waited = self._shared.wheel.patience - self._patience
        if waited < timeout:  # the loop was behind: that was not the application's time
            self._shared.wheel.schedule(self, timeout - waited)
        elif self._driver is not None:
            self._driver.timed_out()

    def _check_ping(self) -> None:
        """Ping each interval; give up a peer that sent nothing, pong or data, since a ping ``ping_timeout`` ago."""
        shared = self._shared
        interval, timeout = self._interval_s, shared.ping_timeout_s
        if interval is None:
            self._sleep(None)
            return
        if self._backlog is not None:  # a ping would wait behind the reply, and so would its answer (trap 50)
            self._unanswered = 0.0
            self._sleep(interval)
            return
        now = shared.wheel.now
        if self._heard >= self._unanswered or not self._reading:
            self._unanswered = 0.0
        if self._unanswered and timeout is not None and now - self._unanswered >= timeout:
            self.lose(Lost.SILENT)
            return
        if now - self._pinged >= interval - TICK_S / 2:
            # Also when the client talks: the proxy between may have heard nothing from here (nginx, 75 s).
            self.write(PING)
            self._pinged = now
            self._unanswered = self._unanswered or now
        delay = self._pinged + interval - now
        self._sleep(min(delay, self._unanswered + timeout - now) if timeout and self._unanswered else delay)
