"""ws_gateway.protocol.codec and .protobuf: how many commands a frame may hold."""

from __future__ import annotations

import pytest

from ws_gateway.protocol.codec import COMMANDS_MAX, JSON_CODEC, Codec, FrameCrowded
from ws_gateway.protocol.commands import PONG
from ws_gateway.protocol.protobuf import PROTOBUF_CODEC

FORMS = [(JSON_CODEC, b"{}\n", b"no JSON"), (PROTOBUF_CODEC, b"\0", b"\x01\xff")]


@pytest.mark.parametrize(("codec", "pong", "malformed"), FORMS, ids=["json", "protobuf"])
def test_a_frame_holds_so_many_commands(codec: Codec, pong: bytes, malformed: bytes) -> None:
    """4,096 are read; one more is too many, and none of them is decoded: what is malformed does not show."""
    assert codec.commands(pong * COMMANDS_MAX) == [PONG] * COMMANDS_MAX
    with pytest.raises(FrameCrowded):
        codec.commands(pong * (COMMANDS_MAX + 1))
    with pytest.raises(FrameCrowded):
        codec.commands(pong * COMMANDS_MAX + malformed)


def test_blank_lines_are_no_commands() -> None:
    """Among as many commands as may be; but there is an end to them, too."""
    lines = [b"{}", b" "] * (COMMANDS_MAX // 2)
    assert JSON_CODEC.commands(b"\n".join(lines)) == [PONG] * (COMMANDS_MAX // 2)
    with pytest.raises(FrameCrowded):
        JSON_CODEC.commands(b"\n" * (COMMANDS_MAX + 1))
