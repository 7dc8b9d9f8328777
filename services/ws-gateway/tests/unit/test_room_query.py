"""ws_gateway.room_query: what a plain room's URL asks for."""

from __future__ import annotations

import pytest

from clarion.errors import RequestInvalid
from ws_gateway.room_query import RoomQuery, room_query


def test_room_query_of_nothing_starts_from_now_on() -> None:
    """No parameter is needed, and one that is not known is not looked at."""
    assert room_query({}) == room_query({"x": "1", "token": "t", "hello": "2"}) == RoomQuery()


@pytest.mark.parametrize("since", [0, 1, 2**53, 10**19 - 1])
def test_room_query_reads_a_place(since: int) -> None:
    """Offsets from 0 on; an epoch of another stream is no bad one."""
    parameters = {"since": str(since), "epoch": "e", "hello": "1", "envelope": "1"}
    assert room_query(parameters) == RoomQuery(since=since, epoch="e", hello=True, envelope=True)


@pytest.mark.parametrize(
    "parameters",
    [
        {"since": ""}, {"since": "-1"}, {"since": "+1"}, {"since": " 1"}, {"since": "1.0"}, {"since": "1e3"},
        {"since": "0x1"}, {"since": "1_0"}, {"since": "٣"}, {"since": "²"}, {"since": "null"}, {"since": "1" * 20},
        {"since": "1", "epoch": "e" * 65}, {"epoch": "e" * 65},
    ],
)  # fmt: skip
def test_room_query_refuses_what_is_no_place(parameters: dict[str, str]) -> None:
    """Not an integer from 0 on, more than Redis can count, or an epoch that none can be: 4400."""
    with pytest.raises(RequestInvalid):
        room_query(parameters)
