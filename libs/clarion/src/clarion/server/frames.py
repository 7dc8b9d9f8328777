"""Frames and chunks that a server writes by itself: ready bytes, the same for every receiver.

Source: RFC 6455, section 5.2; RFC 9112, section 7.1.
"""

from __future__ import annotations

import struct
from typing import Any

from websockets.frames import EXTERNAL_CLOSE_CODES, CloseCode

PING = b"\x89\x00"
LAST_CHUNK = b"0\r\n\r\n"

_REASON_BYTES = 123  # a control frame carries 125 bytes, two of them are the code


def text_frame(payload: bytes) -> bytes:
    """Frame UTF-8 text as one unmasked, final frame. The caller answers for the UTF-8."""
    return frame(0x81, payload)


def binary_frame(payload: bytes) -> bytes:
    """Frame bytes as one unmasked, final frame."""
    return frame(0x82, payload)


def chunk(payload: bytes) -> bytes:
    """Frame a piece of an HTTP/1.1 body. Nothing for nothing: an empty chunk would be the body's end."""
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""


def frame(head: int, payload: bytes) -> bytes:
    """Frame a payload behind a first byte: FIN, RSV1 (compressed), opcode."""
    size = len(payload)
    if size < 126:
        return bytes((head, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", head, 126, size) + payload
    return struct.pack("!BBQ", head, 127, size) + payload


def close_code(code: Any) -> int:
    """Return a code that may stand in a Close frame (trap 18): applications pass anything.

    None and 1005 mean "no code", which is 1000 on the wire; what nobody may send (1006, 2000, "x") becomes 1011.
    """
    if code is None:
        return CloseCode.NORMAL_CLOSURE
    try:
        number = int(code)
    except (TypeError, ValueError, OverflowError):
        return CloseCode.INTERNAL_ERROR
    if number in EXTERNAL_CLOSE_CODES or 3000 <= number < 5000:
        return number
    return CloseCode.NORMAL_CLOSURE if number == CloseCode.NO_STATUS_RCVD else CloseCode.INTERNAL_ERROR


def close_reason(reason: Any) -> str:
    """Cut a reason to what fits in a Close frame, at a character's boundary."""
    if not reason:
        return ""
    return str(reason).encode("utf-8", "replace")[:_REASON_BYTES].decode("utf-8", "ignore")
