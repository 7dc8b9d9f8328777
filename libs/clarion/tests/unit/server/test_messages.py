"""Frames to messages."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from clarion.server.messages import Fragments, MessageInvalid, decoded


def test_fragments_join_across_a_character() -> None:
    """A character may be cut by a frame's border; the message is checked as a whole."""
    first, second = "größe".encode()[:3], "größe".encode()[3:]
    fragments = Fragments(Frame(Opcode.TEXT, first, fin=False))
    assert fragments.add(Frame(Opcode.CONT, second, fin=True), 10) == "größe"


def test_fragments_of_bytes_stay_bytes() -> None:
    """A binary message is `bytes`, not the buffer that gathered it."""
    fragments = Fragments(Frame(Opcode.BINARY, b"\xff", fin=False))
    assert fragments.add(Frame(Opcode.CONT, b"", fin=False), 10) is None
    message = fragments.add(Frame(Opcode.CONT, b"\xfe", fin=True), 10)
    assert message == b"\xff\xfe"
    assert type(message) is bytes


def test_empty_fragments_have_an_end() -> None:
    """Trap 20: fragments are counted, not only their bytes: 1009."""
    fragments = Fragments(Frame(Opcode.TEXT, b"", fin=False))
    for _ in range(9):
        fragments.add(Frame(Opcode.CONT, b"", fin=False), 10)
    with pytest.raises(MessageInvalid) as refused:
        fragments.add(Frame(Opcode.CONT, b"", fin=False), 10)
    assert refused.value.code == 1009


@pytest.mark.parametrize("data", [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"])
def test_bad_utf8_is_1007(data: bytes) -> None:
    """Trap 20: text that is not UTF-8 must not be delivered, surrogates included."""
    with pytest.raises(MessageInvalid) as refused:
        decoded(data)
    assert refused.value.code == 1007
