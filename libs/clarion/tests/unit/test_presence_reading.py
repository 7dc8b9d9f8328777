"""clarion.presence without Redis: entries as bytes, and reading step by step."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import pytest

from clarion.errors import NameInvalid
from clarion.presence import DEAD_S, Entry, PresenceReading, Result, Stats, Steps

NOW = (1_700_000_000, 500_000)
NOW_MS = NOW[0] * 1000 + 500
ALIVE, DEAD = b"alive", b"dead"
SCORES = [ALIVE, b"%d" % (NOW_MS - 1), DEAD, b"%d" % (NOW_MS - DEAD_S * 1000 - 1)]


@pytest.fixture
def reading() -> PresenceReading:
    return PresenceReading(prefix="p", shards=3, decode=msgspec.json.decode)


def value(client: str, user: str = "7", *, node: bytes = ALIVE, is_kept: bool = True, is_told: bool = True) -> bytes:
    leave = msgspec.json.encode({"type": "clarion.leave", "info": {"user": user, "client": client}})
    return Entry(node, user.encode(), is_kept, is_told, leave).value


def result(steps: Steps[Result], *answers: list[Any]) -> tuple[list[list[tuple[Any, ...]]], Result]:
    """Answer the steps; return what they asked for, and what they found."""
    asked = [next(steps)]
    for answer in answers:
        try:
            asked.append(steps.send(answer))
        except StopIteration as done:
            return asked, cast("Result", done.value)
    raise AssertionError(f"it asks on: {asked[-1]}")


@pytest.mark.parametrize("is_kept", [True, False])
@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize(("user", "leave"), [(b"", b""), (b"7", b"\x00\x00\x81\x00"), (b"a:b", b"0123")])
def test_an_entry_is_what_was_written(is_kept: bool, is_told: bool, user: bytes, leave: bytes) -> None:
    """Whatever bytes a message has; a user without an id, too."""
    entry = Entry(b"0123456789abcdef", user, is_kept, is_told, leave)
    assert Entry.of(entry.value) == entry


def test_reading_leaves_out_the_dead_and_the_hidden(reading: PresenceReading) -> None:
    """Gateways that are silent or unknown have nobody; who is only told of is not presence."""
    page = {
        b"a": value("a"),
        b"b": value("b", node=DEAD),
        b"c": value("c", node=b"unknown"),
        b"d": value("d", is_kept=False),
        b"e": value("e", is_told=False),
    }
    asked, found = result(reading.read("chat:x"), [NOW, SCORES, (0, page)])
    assert found == {"a": {"user": "7", "client": "a"}, "e": {"user": "7", "client": "e"}}
    assert [words[0] for words in asked[0]] == ["TIME", "ZRANGE", "HSCAN"]
    assert len(asked) == 1


def test_reading_goes_on_to_the_last_page(reading: PresenceReading) -> None:
    """A channel is read in bounded steps; who is on two pages is there once."""
    asked, found = result(
        reading.stats("chat:x"),
        [NOW, SCORES, (17, {b"a": value("a"), b"b": value("b", "8")})],
        [(5, {})],
        [(0, {b"a": value("a"), b"c": value("c")})],
    )
    assert found == Stats(num_clients=3, num_users=2)
    assert [words[1:3] for words in (asked[1][0], asked[2][0])] == [
        ("p__presence__chat:x", 17),
        ("p__presence__chat:x", 5),
    ]


def test_a_user_with_three_tabs_is_one_user(reading: PresenceReading) -> None:
    """Clients are connections, users are people; all without an id count as one."""
    page = {client.encode(): value(client, user) for client, user in [("a", "7"), ("b", "7"), ("c", "7"), ("d", "")]}
    assert result(reading.stats("chat:x"), [NOW, SCORES, (0, page)])[1] == Stats(num_clients=4, num_users=2)


def test_nodes_are_the_live_ones(reading: PresenceReading) -> None:
    """A dead gateway's facts are nobody's; one whose facts are gone is left out."""
    scores = [*SCORES, b"second", b"%d" % NOW_MS, b"third", b"%d" % NOW_MS]
    asked, found = result(
        reading.nodes(), [NOW, scores], [b'{"uid":"alive","num_clients":3}', None, b'{"uid":"third"}']
    )
    assert found == [{"uid": "alive", "num_clients": 3}, {"uid": "third"}]
    assert [words[1] for words in asked[1]] == ["p__node__alive", "p__node__second", "p__node__third"]
    assert result(reading.nodes(), [NOW, []])[1] == []


def test_a_bad_name_is_refused(reading: PresenceReading) -> None:
    """Before anything is asked of Redis."""
    with pytest.raises(NameInvalid):
        reading.shard_of("a b")
    with pytest.raises(NameInvalid):
        reading.shard_of(cast("str", ["a"]))
