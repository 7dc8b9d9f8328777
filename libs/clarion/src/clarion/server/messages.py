"""Frames to messages: reassembly, UTF-8 and the limit on fragments, none of which ``ServerProtocol`` does (trap 20)."""

from __future__ import annotations

from websockets.frames import CloseCode, Frame, Opcode


class MessageInvalid(Exception):
    """The message must not be delivered; ``code`` is the close code for it."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


class Fragments:
    """A message that arrives in several frames, gathered in one buffer."""

    __slots__ = ("_count", "_data", "_is_text")

    def __init__(self, first: Frame) -> None:
        self._is_text = first.opcode is Opcode.TEXT
        self._data = bytearray(first.data)
        self._count = 1

    def add(self, frame: Frame, max_fragments: int) -> str | bytes | None:
        """Take a continuation; return the message with its last one.

        Raises:
            MessageInvalid: 1009 beyond ``max_fragments`` (``max_size`` counts bytes only, so empty fragments
                would go on for ever), 1007 for bad UTF-8.
        """
        self._count += 1
        if self._count > max_fragments:
            raise MessageInvalid(CloseCode.MESSAGE_TOO_BIG, "too many fragments")
        self._data += frame.data
        if not frame.fin:
            return None
        return decoded(self._data) if self._is_text else bytes(self._data)


def max_fragments(max_message_bytes: int | None) -> int:
    """Frames that one message may have: empty ones pass every limit on bytes (trap 20)."""
    return max(1024, (max_message_bytes or 4 * 2**20) // 64)


def decoded(data: bytes | bytearray | memoryview) -> str:
    """Return a text message.

    Raises:
        MessageInvalid: 1007, it is not UTF-8.
    """
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as exc:
        raise MessageInvalid(CloseCode.INVALID_DATA, f"invalid UTF-8 at byte {exc.start}") from None
