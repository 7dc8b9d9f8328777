"""WebSocket clients that cost the generator as little as possible: a raw protocol that walks frames in strides.

All publications of a measurement have one size. Where each has a frame of its own, a client takes every n-th byte of
what it read, and these must all be the first byte of a text frame: then the frames are as many, and nothing was parsed.
A control frame, or a text of another size, breaks the stride, and then the chunk is walked frame by frame; so the count
is exact either way. Where a server joins publications in one frame, it is the frame's length that says how many they
are. A *timed* client looks into every frame: number and time.

Source: RFC 6455 section 5.
"""

from __future__ import annotations

import asyncio
import re
import struct
import time
from collections.abc import Callable
from typing import Final, TypeAlias, cast

PING: Final = 0x89
PONG: Final = 0x8A
CLOSE: Final = 0x88
TEXT: Final = 0x81
NUMBER: Final = "n"
TIME: Final = "t"

KEY: Final = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT: Final = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The nonce of RFC 6455 section 1.3 and the answer to it: one for all clients, so that checking it costs nothing."""

NUMBERED: Final = re.compile(rb'"n": ?(\d+), ?"t": ?"(\d+)"')
"""A publication's number and time, however a server spaces its JSON."""

Frame: TypeAlias = tuple[int, int, int, int]
"""The opcode byte, start and end of the payload, and where the next frame starts."""

_MASK: Final = bytes([0x37, 0xFA, 0x21, 0x3D])
# One buffer for all sockets: a read is handled before the next one starts.
_BUFFER: Final = bytearray(256 * 1024)
_VIEW: Final = memoryview(_BUFFER)


class Refused(Exception):
    """The handshake was not answered by 101; the text says by what."""


class Tally:
    """What all clients of one process have received since :meth:`reset`.

    Attributes:
        frames: publications, whatever they came in.
        last_ns: when :meth:`note_progress` last found more of them.
        skipped: numbers that were missing at timed clients though a later one came.
    """

    __slots__ = (
        "_seen", "done_ns", "faults", "frames", "last_ns", "latencies_ns", "lost", "on_done", "skipped", "target",
    )  # fmt: skip

    def __init__(self) -> None:
        self.on_done: Callable[[], None] = lambda: None
        self.reset(0)

    def reset(self, target: int) -> None:
        """Begin anew; ``on_done`` is called when ``target`` frames are there."""
        self.frames = 0
        self.target = target
        self.done_ns = 0
        self.last_ns = time.monotonic_ns()
        self._seen = 0
        self.lost = 0
        self.skipped = 0
        self.latencies_ns: list[int] = []
        self.faults: list[str] = []

    def add(self, frames: int) -> None:
        """Count frames; the hot path."""
        self.frames += frames
        if self.frames >= self.target and not self.done_ns:
            self.done_ns = time.monotonic_ns()
            self.on_done()

    def note_progress(self) -> bool:
        """Note the time if more has arrived; return whether all has."""
        if self.frames != self._seen:
            self._seen, self.last_ns = self.frames, time.monotonic_ns()
        return self.frames >= self.target


class Client(asyncio.BufferedProtocol):
    """One WebSocket that counts the publications it receives.

    Args:
        request: its handshake.
        is_timed: it looks into every frame.
        joint: by how many bytes a frame of several publications is shorter than a multiple of one's share, e.g. 1
            where line feeds stand between them; None: each has a frame of its own.
    """

    def __init__(self, tally: Tally, request: bytes, *, is_timed: bool = False, joint: int | None = None) -> None:
        self.tally = tally
        self.frames = 0
        self.bytes = 0
        self.is_open = False
        self.is_mute = False  # it says nothing until :meth:`greet`
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None
        self._request = request
        self._is_timed = is_timed
        self._joint = joint
        self._number = 0  # of the last publication, at a timed client
        self._unit = 0  # a publication's share of a frame's payload, where they are joined
        self._partial = b""  # what has come of the handshake's answer, later of a frame that is walked
        self._stride = 0  # bytes of one frame, as the last one had; 0: walk
        self._length = 0  # the byte that says so in each of them
        self._missing = 0  # bytes to come of the frame that the last chunk cut

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake, unless it is mute so far."""
        self.transport = cast("asyncio.Transport", transport)
        if self.is_mute:
            self.opened.set_result(None)
        else:
            self.transport.write(self._request)

    @property
    def is_joined(self) -> bool:
        """Whether several publications may come in one frame."""
        return self._joint is not None

    def greet(self) -> None:
        """Send the handshake of a client that was mute; ``opened`` is anew."""
        assert self.transport is not None
        self.is_mute = False
        self.opened = self.opened.get_loop().create_future()
        self.transport.write(self._request)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """The buffer that all clients share."""
        return _VIEW

    def buffer_updated(self, size: int) -> None:
        """Take what was read."""
        if self.is_open:
            self.received(size)
        else:
            self._answered(size)

    def received(self, size: int) -> None:
        """Count the frames in the first ``size`` bytes of the buffer; the hot path."""
        if self._partial or not self._stride:
            self._walk(bytes(_VIEW[:size]))
            return
        missing = self._missing
        starts = _BUFFER[missing : size : self._stride]
        begun = len(starts)
        end = missing + begun * self._stride
        # The last one may be a text of another size (a ping of Engine.IO); any other such would have broken the stride.
        second = end - self._stride + 1
        if starts.count(TEXT) != begun or (begun and (second >= size or _BUFFER[second] != self._length)):
            self._walk_rest(size)
            return
        self.bytes += size
        self._missing = end - size
        done = begun + (missing > 0) - (self._missing > 0)
        if done:
            self.frames += done
            self.tally.add(done)

    def walk(self, size: int) -> None:
        """Go through the first ``size`` bytes of the buffer frame by frame."""
        self._walk(bytes(_VIEW[:size]))

    def connection_lost(self, _exc: Exception | None) -> None:
        """Count a loss that nobody asked for."""
        if not self.opened.done():
            self.opened.set_exception(Refused("cut before the handshake's answer"))
        elif self.is_open:
            self.is_open = False
            self.tally.lost += 1

    def send(self, frame: bytes) -> None:
        """Send a ready frame (:func:`client_frame`)."""
        if self.transport is not None:
            self.transport.write(frame)

    def drop(self) -> None:
        """Close without a word."""
        self.is_open = False
        self.opened.cancel()
        if self.transport is not None:
            self.transport.abort()

    def reset(self) -> None:
        """Begin to count anew."""
        self.frames = self.bytes = 0

    def accepted(self) -> None:
        """The handshake is done."""
        self.opened.set_result(None)

    def text(self, payload: bytes, size: int) -> None:
        """Count a text frame that was walked over; ``size`` is the whole frame's."""
        self.bytes += size
        count = 1
        if self._is_timed:
            count = self._take_times(payload)
        elif self._joint is None:
            self._stride = size
            self._length = min(len(payload), 126)
        else:
            count = self._count_joined(payload, self._joint)
        self.frames += count
        self.tally.add(count)

    def is_welcome(self, head: bytes) -> bool:
        """Whether this is the answer to a handshake that was accepted."""
        return head.startswith(b"HTTP/1.1 101") and ACCEPT in head

    def _take_times(self, payload: bytes) -> int:
        """Check the order and take the time of each publication of a frame; return how many they are."""
        now, tally, found = time.monotonic_ns(), self.tally, NUMBERED.findall(payload)
        for digits, published in found:
            number = int(digits)
            if self._number and number != self._number + 1:
                if number > self._number:
                    tally.skipped += number - self._number - 1
                else:
                    tally.faults.append(f"publication {number} came after {self._number}")
            self._number = number
            tally.latencies_ns.append(now - int(published))
        if not found:
            tally.faults.append(f"no publication: {payload[:80]!r}")
        return len(found)

    def _count_joined(self, payload: bytes, joint: int) -> int:
        """How many publications are in a frame: by its length, or by looking where that fits none."""
        length = len(payload) + joint
        if self._unit and length % self._unit == 0:
            return length // self._unit
        count = len(NUMBERED.findall(payload))
        if not count:
            self.tally.faults.append(f"no publication: {payload[:80]!r}")
        elif length % count == 0:
            self._unit = length // count
        return count

    def _answered(self, size: int) -> None:
        answer = self._partial + bytes(_VIEW[:size])
        head, end, rest = answer.partition(b"\r\n\r\n")
        if not end:
            self._partial = answer
            return
        self._partial = b""
        status = head.split(b"\r\n", 1)[0].decode("latin-1")
        if self.opened.done():
            return
        if not self.is_welcome(head):
            self.opened.set_exception(Refused(status))
            return
        self.is_open = True
        self.accepted()
        self._walk(rest)

    def _walk_rest(self, size: int) -> None:
        """Walk a chunk whose stride is broken: first the frame that the last chunk cut, then frame by frame."""
        missing, self._missing = self._missing, 0
        self.bytes += missing
        if missing:
            self.frames += 1
            self.tally.add(1)
        self._walk(bytes(_VIEW[missing:size]))

    def _walk(self, more: bytes) -> None:
        """Go frame by frame; half a frame waits for its rest."""
        data, at = self._partial + more, 0
        while (frame := self.frame_at(data, at)) is not None:
            opcode, start, end, behind = frame
            if opcode == TEXT:
                self.text(data[start:end], behind - at)
            elif opcode == PING:
                self.send(client_frame(data[start:end], PONG))
            elif opcode == CLOSE:
                code = int.from_bytes(data[start : start + 2], "big")
                self.tally.faults.append(f"the server closed with {code}")
            else:
                self.tally.faults.append(f"a frame that starts with {opcode:#x}")
            at = behind
        self._partial = data[at:]

    @staticmethod
    def frame_at(data: bytes, at: int) -> Frame | None:
        """The frame that starts at ``at``; None unless all of it is there."""
        if len(data) < at + 2:
            return None
        length, start = data[at + 1], at + 2
        if length >= 126:
            size = 2 if length == 126 else 8
            if len(data) < start + size:
                return None
            (length,) = struct.unpack_from("!H" if size == 2 else "!Q", data, start)
            start += size
        end = start + length
        return (data[at], start, end, end) if len(data) >= end else None


class EchoClient(Client):
    """A client that answers each frame with the same one, until it is told to stop."""

    frame: bytes | None = None

    def received(self, size: int) -> None:
        """Count, and send again."""
        before = self.frames
        super().received(size)
        if self.frames > before and self.frame is not None:
            self.send(self.frame)


class AskClient(Client):
    """A client that takes the time from a frame that it sends to the next one that it gets.

    It parses every frame, because a consumer may greet with a frame of another size.
    """

    def __init__(self, tally: Tally, request: bytes) -> None:
        super().__init__(tally, request)
        self.again: bytes | None = None
        self._asked_ns = 0

    @property
    def is_waiting(self) -> bool:
        """Whether a question is open."""
        return self._asked_ns > 0

    def ask(self, frame: bytes) -> None:
        """Send a ready frame, unless an answer is still to come."""
        if not self._asked_ns and self.is_open:
            self._asked_ns = time.monotonic_ns()
            self.send(frame)

    def received(self, size: int) -> None:
        """Walk what was read."""
        self.walk(size)

    def text(self, payload: bytes, size: int) -> None:
        """Count, take the time, and ask again if that is wanted."""
        super().text(payload, size)
        if self._asked_ns:
            self.tally.latencies_ns.append(time.monotonic_ns() - self._asked_ns)
            self._asked_ns = 0
            if self.again is not None:
                self.ask(self.again)


def client_frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """One masked frame, as clients must send it; at most 65,535 bytes of payload."""
    size = len(payload)
    key = int.from_bytes((_MASK * (size // 4 + 1))[:size], "big")
    masked = (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
    head = bytes([opcode, 0x80 | size]) if size < 126 else bytes([opcode, 0xFE]) + size.to_bytes(2, "big")
    return head + _MASK + masked
