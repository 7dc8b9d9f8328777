"""ws_gateway.wires: the forms of a plain room's messages."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from clarion.publications import Publication
from clarion.server import Deflate, text_frame
from ws_gateway.events import Membership
from ws_gateway.groups import Group
from ws_gateway.protocol.formats import WEBSOCKET_JSON, WEBSOCKET_PROTOBUF
from ws_gateway.wires import ENVELOPE, PLAIN, POSITIONED_ENVELOPE, POSITIONED_PLAIN, envelope, room_wire

KEPT = Publication(data={"a": 1}, offset=3, epoch="e", time=1_795_212_000_123, info={"user": "7", "client": "c"})
GROUP = Group("chat:x", "asgi__group__chat:x", None)


@pytest.mark.parametrize("wire", [PLAIN, POSITIONED_PLAIN])
def test_a_plain_message_is_exactly_its_json(wire: Any) -> None:
    """One frame a publication; who came and went is none."""
    events = [KEPT, Membership(True, {}), Publication(data=None)]
    assert wire.encode(GROUP, events) == text_frame(b'{"a":1}') + text_frame(b"null")
    assert wire.encode(GROUP, [Membership(False, {})]) == b""


@pytest.mark.parametrize("wire", [ENVELOPE, POSITIONED_ENVELOPE])
def test_an_envelope_says_place_author_and_time(wire: Any) -> None:
    """Nothing else of the author: not the id of its connection."""
    wanted = {"data": {"a": 1}, "offset": 3, "epoch": "e", "user": "7", "time": 1_795_212_000_123}
    assert envelope(KEPT) == wanted
    assert wire.encode(GROUP, [KEPT]) == text_frame(json.dumps(wanted, separators=(",", ":")).encode())


@pytest.mark.parametrize("info", [None, {"user": "", "client": "c"}, {}])
def test_an_envelope_without_history_and_author_has_neither(info: dict[str, Any] | None) -> None:
    """A service's, or an anonymous client's, on a channel without history: data and our own time."""
    before = time.time()
    found = envelope(Publication(data=[], info=info))
    assert found.keys() == {"data", "time"}
    assert before - 1 <= found["time"] / 1000 <= time.time() + 1


def test_room_wire_tells_positions_to_those_who_count() -> None:
    """A lost position concerns who joined with since, in either form."""
    assert [room_wire(envelope=e, is_positioned=p) for e in (False, True) for p in (False, True)] == [
        PLAIN, POSITIONED_PLAIN, ENVELOPE, POSITIONED_ENVELOPE,
    ]  # fmt: skip
    assert [wire.is_positioned for wire in (PLAIN, POSITIONED_PLAIN, ENVELOPE, POSITIONED_ENVELOPE)] == [
        False, True, False, True,
    ]  # fmt: skip


class Taker:
    """A member that keeps the last bytes it was given."""

    def write(self, frames: bytes) -> None:
        self.taken = frames


def test_members_with_deflate_share_their_frames() -> None:
    """Compressed once per wire: all members that have agreed are given the same object, the others their own."""
    deflate = Deflate(10)
    wires = [room_wire(envelope=False, is_positioned=False, deflate=given) for given in (None, deflate, deflate, None)]
    assert wires[0] is wires[3] is PLAIN
    group, takers = Group("chat:x", "asgi__group__chat:x", None), [Taker() for _ in wires]
    for taker, wire in zip(takers, wires, strict=True):
        group.add(taker, wire)
    for frames, members in group.rounds([Publication(data="x" * 1_000)]):
        for _, write in members:
            write(frames)
    taken = [taker.taken for taker in takers]
    assert taken[1] is taken[2]
    assert taken[0] is taken[3]
    assert len(taken[1]) < 50 < len(taken[0])


def test_formats_with_deflate_are_made_once() -> None:
    """Equal ones share their wires, so a channel's members with deflate share their frames."""
    deflate = Deflate()
    for format in (WEBSOCKET_JSON, WEBSOCKET_PROTOBUF):
        assert format.deflated(deflate) is format.deflated(deflate) is not format
        assert format.deflated(None) is format
        assert format.deflated(deflate).plain is format
