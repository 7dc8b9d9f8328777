"""Frames and the clamping of closes: `clarion.server.frames`, without a socket."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode

from clarion.server.frames import binary_frame, close_code, close_reason, text_frame

SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000]


@pytest.mark.parametrize("size", SIZES)
def test_frame_is_what_websockets_writes(size: int) -> None:
    """RFC 6455 section 5.2: one final, unmasked frame, with the shortest length field, equal to `websockets`' own."""
    payload = b"x" * size
    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
    assert binary_frame(payload) == Frame(Opcode.BINARY, payload).serialize(mask=False)


@given(st.binary(max_size=300))
def test_frame_holds_any_payload(payload: bytes) -> None:
    """The payload stands unchanged behind a head of 2 or 4 bytes."""
    frame = binary_frame(payload)
    assert frame.endswith(payload)
    assert len(frame) - len(payload) == (2 if len(payload) < 126 else 4)


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4999])
def test_close_code_keeps_what_is_legal(code: int) -> None:
    """Trap 18: a code that may stand in a Close frame is kept."""
    assert close_code(code) == code


@pytest.mark.parametrize("code", [None, 1005])
def test_close_code_without_a_code_is_normal(code: int | None) -> None:
    """Trap 18: no code is 1000."""
    assert close_code(code) == 1000


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1006, 1015, 1016, 2000, 2999, 5000, 65_536, "x", [], 10**30])
def test_close_code_replaces_what_is_not(code: Any) -> None:
    """Trap 18: what nobody may send becomes 1011: the application is at fault."""
    assert close_code(code) == 1011


@given(st.text(), st.integers() | st.none() | st.text() | st.floats(allow_nan=True))
def test_every_close_can_be_sent(reason: str, code: Any) -> None:
    """Trap 18: `websockets` takes whatever comes out, and the reason is a beginning of the given one."""
    kept = close_reason(reason)
    payload = Close(close_code(code), kept).serialize()
    assert struct.unpack("!H", payload[:2])[0] == close_code(code)
    assert len(payload) <= 125
    assert reason.encode("utf-8", "replace").decode().startswith(kept)


@pytest.mark.parametrize(
    ("reason", "kept"),
    [
        ("", ""),
        (None, ""),
        ("x" * 123, "x" * 123),
        ("x" * 124, "x" * 123),
        ("é" * 62, "é" * 61),
        ("x" * 122 + "€", "x" * 122),
        ("a\ud800b", "a?b"),
        (42, "42"),
    ],
)
def test_close_reason_is_cut_at_a_character(reason: Any, kept: str) -> None:
    """Trap 18: at most 123 bytes, whole characters, no surrogate."""
    assert close_reason(reason) == kept
