"""A WebSocket client that sends exactly the bytes it is told to and sees how a connection ends."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, TypeVar

T = TypeVar("T")
DEADLINE_S = 20.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class Opcode(IntEnum):
    """RFC 6455 section 5.2."""

    CONT = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


@dataclass(frozen=True)
class Head:
    """The head of an HTTP answer; header names are lower case, in order."""

    status: int
    headers: tuple[tuple[str, str], ...]

    def __getitem__(self, name: str) -> str:
        return dict(self.headers)[name]

    def get(self, name: str) -> str | None:
        return dict(self.headers).get(name)


@dataclass(frozen=True)
class Frame:
    """One frame as the server sent it."""

    opcode: int
    payload: bytes
    fin: bool = True

    @property
    def close_code(self) -> int | None:
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else None

    @property
    def reason(self) -> str:
        return self.payload[2:].decode()


class Stream(Protocol):
    """What the client needs of a socket; `TlsStream` is the other one."""

    def sendall(self, data: bytes, /) -> None: ...
    def recv(self, size: int, /) -> bytes: ...
    def settimeout(self, seconds: float | None, /) -> None: ...
    def close(self) -> None: ...
    def fileno(self) -> int: ...


class TlsStream:
    """TLS over a socket, keeping every byte that crossed the wire towards us."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.wire = bytearray()
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")
        self._step(self.tls.do_handshake)

    def _step(self, action: Callable[[], T]) -> T:
        while True:
            try:
                result = action()
            except ssl.SSLWantReadError:
                self._flush()
                data = self._sock.recv(65536)
                self.wire += data
                self._in.write(data) if data else self._in.write_eof()
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        if self._out.pending:
            self._sock.sendall(self._out.read())

    def sendall(self, data: bytes, /) -> None:
        self._step(lambda: self.tls.write(data))

    def recv(self, size: int, /) -> bytes:
        try:
            return self._step(lambda: self.tls.read(size))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def settimeout(self, seconds: float | None, /) -> None:
        self._sock.settimeout(seconds)

    def close(self) -> None:
        self._sock.close()

    def fileno(self) -> int:
        return self._sock.fileno()


class RawClient:
    """One connection. Every read has a deadline; `ending` tells FIN from RST."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.buffer = bytearray()
        stream.settimeout(DEADLINE_S)

    # Sending.

    def send(self, data: bytes) -> None:
        self.stream.sendall(data)

    def upgrade(self, path: str = "/ws/echo", *headers: str, behind: bytes = b"") -> Head:
        """Send the handshake, with `behind` in the same segment, and return the answer's head."""
        self.send(handshake(path, *headers) + behind)
        return self.read_head()

    def open(self, path: str = "/ws/echo", *headers: str, behind: bytes = b"") -> RawClient:
        """Do the handshake and demand that it succeeds."""
        head = self.upgrade(path, *headers, behind=behind)
        assert head.status == 101, head
        assert head["sec-websocket-accept"] == ACCEPT
        return self

    def half_close(self) -> None:
        self._socket().shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with an RST."""
        self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.close()

    def close(self) -> None:
        self.stream.close()

    def _socket(self) -> socket.socket:
        assert isinstance(self.stream, socket.socket)
        return self.stream

    @property
    def port(self) -> int:
        return int(self._socket().getsockname()[1])

    # Reading.

    def read_head(self) -> Head:
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            assert self._fill(), f"the server closed before an answer: {bytes(self.buffer)!r}"
        lines = bytes(self.buffer[:end]).decode("latin1").split("\r\n")
        del self.buffer[: end + 4]
        pairs = (line.partition(":") for line in lines[1:])
        return Head(int(lines[0].split()[1]), tuple((name.lower(), value.strip()) for name, _, value in pairs))

    def read_body(self, head: Head) -> bytes:
        """Read a body that `content-length` or the end of the connection delimits."""
        length = head.get("content-length")
        while length is None or len(self.buffer) < int(length):
            if not self._fill():
                break
        size = len(self.buffer) if length is None else int(length)
        body = bytes(self.buffer[:size])
        del self.buffer[:size]
        return body

    def read_frame(self, timeout_s: float = DEADLINE_S) -> Frame | None:
        """Read one frame; None at the server's FIN, `ConnectionResetError` at its RST."""
        self.stream.settimeout(timeout_s)
        while (parsed := parse_frame(self.buffer)) is None:
            if not self._fill():
                assert not self.buffer, f"the connection ended inside a frame: {bytes(self.buffer)[:40]!r}"
                return None
        frame, size = parsed
        del self.buffer[:size]
        return frame

    def read_frames(self) -> list[Frame]:
        """Read frames until the server's FIN."""
        frames = []
        while (frame := self.read_frame()) is not None:
            frames.append(frame)
        return frames

    def read_text(self) -> str:
        frame = self.read_frame()
        assert frame is not None, "FIN instead of a message"
        assert frame.opcode == Opcode.TEXT, frame
        return frame.payload.decode()

    def read_chunk(self) -> bytes | None:
        """Read one chunk of a body; None at the last one, `ConnectionError` at an end without it."""
        head = self._read_until(b"\r\n")
        size = int(head, 16)
        while len(self.buffer) < size + 2:
            if not self._fill():
                raise ConnectionError("the connection ended inside a chunk")
        chunk = bytes(self.buffer[:size])
        assert self.buffer[size : size + 2] == b"\r\n"
        del self.buffer[: size + 2]
        return chunk or None

    def read_chunks(self) -> list[bytes]:
        """Read chunks to the last one, and demand the FIN behind it."""
        chunks = list(iter(self.read_chunk, None))
        assert not self.buffer, bytes(self.buffer[:40])
        assert not self._fill(), "something follows the last chunk"
        return chunks

    def _read_until(self, mark: bytes) -> bytes:
        while (end := self.buffer.find(mark)) < 0:
            if not self._fill():
                raise ConnectionError(f"the connection ended inside {bytes(self.buffer[:40])!r}")
        line = bytes(self.buffer[:end])
        del self.buffer[: end + len(mark)]
        return line

    def read_close(self) -> Frame:
        """Read up to the Close frame, past whatever comes before it."""
        while (frame := self.read_frame()) is not None:
            if frame.opcode == Opcode.CLOSE:
                return frame
        raise AssertionError("FIN without a Close frame")

    def ending(self, timeout_s: float = DEADLINE_S) -> str:
        """Read and drop what comes until the connection ends: "fin", "rst", or "open" after the deadline."""
        until = time.monotonic() + timeout_s
        self.buffer.clear()
        while (left := until - time.monotonic()) > 0:
            self.stream.settimeout(left)
            try:
                if not self.stream.recv(65536):
                    return "fin"
            except TimeoutError:
                break
            except (ConnectionResetError, BrokenPipeError):
                return "rst"
        return "open"

    def is_silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing at all arrives for a while: only for "must never come"."""
        self.stream.settimeout(seconds)
        try:
            data = self.stream.recv(65536)
        except TimeoutError:
            return not self.buffer
        self.buffer += data
        return False

    def _fill(self) -> bool:
        data = self.stream.recv(65536)
        self.buffer += data
        return bool(data)


def parse_frame(buffer: bytes | bytearray) -> tuple[Frame, int] | None:
    """Parse one server frame; None when it is not whole yet."""
    if len(buffer) < 2:
        return None
    assert not buffer[0] & 0x70, "a reserved bit is set"
    assert not buffer[1] & 0x80, "a server frame must not be masked (RFC 6455 section 5.1)"
    length, start = buffer[1] & 0x7F, 2
    if length >= 126:
        start = 4 if length == 126 else 10
        if len(buffer) < start:
            return None
        length = int.from_bytes(buffer[2:start])
    if len(buffer) < start + length:
        return None
    payload = bytes(buffer[start : start + length])
    return Frame(buffer[0] & 0x0F, payload, bool(buffer[0] & 0x80)), start + length


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """Build one client frame, masked unless told otherwise."""
    head = bytes([(fin << 7) | reserved | opcode])
    bit, size = masked << 7, len(payload)
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + apply_mask(payload, mask)


def apply_mask(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    pattern = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(pattern)).to_bytes(size)


def text(payload: str | bytes) -> bytes:
    return frame(Opcode.TEXT, payload.encode() if isinstance(payload, str) else payload)


def close(code: int | None = 1000, reason: str = "") -> bytes:
    return frame(Opcode.CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())


def handshake(path: str, *headers: str, key: str = KEY) -> bytes:
    """Build the opening request; `headers` come last, as written."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin1")


def pour(client: RawClient, data: bytes, *, limit_bytes: int, stall_s: float = 2.0) -> int:
    """Send `data` again and again until `limit_bytes`, an error, or a server that takes no more; return the sum."""
    sent = 0
    client.stream.settimeout(stall_s)
    with contextlib.suppress(OSError):
        while sent < limit_bytes:
            client.stream.sendall(data)
            sent += len(data)
    return sent
