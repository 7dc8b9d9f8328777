"""ws_gateway.wires: the forms of a plain room's messages."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from clarion.publications import Publication
from clarion.server import text_frame
from ws_gateway.events import Membership
from ws_gateway.groups import Group
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
