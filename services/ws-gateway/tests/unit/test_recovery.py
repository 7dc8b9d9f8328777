"""ws_gateway.recovery: whatever is lost on the way, members get the stream, once, in order, or are told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.publications import Publication
from clarion.streams import Slice
from ws_gateway import recovery
from ws_gateway.events import Membership
from ws_gateway.recovery import Stream


def pub(offset: int, epoch: str = "e") -> Publication:
    """The publication at an offset."""
    return Publication(data=offset, offset=offset, epoch=epoch)


def stream_at(offset: int, epoch: str = "e") -> Stream:
    """A stream whose position is known."""
    loop = asyncio.new_event_loop()
    stream = Stream(loop.create_future())
    loop.close()
    stream.offset = stream.delivered = offset
    stream.epoch = epoch
    return stream


def slice_of(log: list[Publication], since: int, kept: int) -> Slice:
    """What Redis would answer that keeps the last ``kept`` publications."""
    held = log[max(0, len(log) - kept) :]
    return Slice(len(log), "e", [item for item in held if item.offset > since])


def offsets(events: list[Any]) -> list[int]:
    return [event.offset for event in events]


def test_what_is_next_is_admitted() -> None:
    """In one batch or in several; the position follows."""
    stream = stream_at(3)
    assert offsets(stream.admit([pub(4), pub(5)])) == [4, 5]
    assert offsets(stream.admit([pub(6)])) == [6]
    assert (stream.offset, stream.is_healing) == (6, False)


def test_what_was_read_before_is_dropped() -> None:
    """A live publication that a read of the stream has brought already comes once."""
    stream = stream_at(5)
    assert offsets(stream.admit([pub(4), pub(5), pub(6)])) == [6]


def test_what_has_no_offset_passes() -> None:
    """A stock service's dict, a join: they have no place in the stream, also while it heals."""
    stream = stream_at(5)
    plain, join = Publication(data="x"), Membership(True, {})
    assert stream.admit([plain, pub(9), join]) == [plain, join]
    assert stream.is_healing


def test_a_gap_is_filled_before_anything_newer() -> None:
    """What came meanwhile is held, and follows."""
    log = [pub(number) for number in range(1, 10)]
    stream = stream_at(3)
    assert stream.admit([log[5]]) == []
    assert stream.is_healing
    assert stream.admit([log[6]]) == []
    ready = stream.fill(slice_of(log[:7], 3, 100), 3)
    assert ready is not None
    assert offsets(ready) == [4, 5, 6, 7]
    assert (stream.offset, stream.is_healing) == (7, False)


def test_a_gap_that_is_gone_is_told() -> None:
    """Trimmed, expired, or another epoch: there is nothing to fill it with."""
    log = [pub(number) for number in range(1, 10)]
    for found in (slice_of(log, 3, 2), Slice(9, "e", []), Slice(9, "other", log[3:]), Slice(2, "e", [])):
        stream = stream_at(3)
        stream.admit([log[8]])
        assert stream.fill(found, 3) is None


def test_after_a_reset_what_was_held_is_live() -> None:
    """Members that count offsets are gone by then; the others miss nothing that came."""
    stream = stream_at(3)
    stream.admit([pub(1, "new"), pub(2, "new"), pub(3, "new")])
    held = stream.reset(2, "new")
    assert offsets(held) == [1, 2, 3]
    assert (stream.offset, stream.delivered, stream.epoch, stream.is_healing) == (3, 3, "new", False)


def test_too_much_held_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the bound it is forgotten; healing goes on until the stream brings nothing more."""
    monkeypatch.setattr(recovery, "HELD_MAX", 10)
    log = [pub(number) for number in range(1, 101)]
    stream = stream_at(0)
    stream.admit(log[1:50])
    ready = stream.fill(slice_of(log[:20], 0, 1000), 0)
    assert ready is not None
    assert offsets(ready) == list(range(1, 21))
    assert stream.is_healing
    ready = stream.fill(slice_of(log, 20, 1000), 20)
    assert ready is not None
    assert offsets(ready) == list(range(21, 101))


def test_recent_holds_a_publication_once_whose_read_was_faster_than_the_live_one() -> None:
    """The stream was read up to 12 while only 10 had come live: 11 and 12, then 13 follow, each in its place."""
    log = [pub(number) for number in range(1, 14)]
    stream = stream_at(10)
    stream.keep_recent(0.0)
    stream.merge_recent(slice_of(log[:12], 5, 100), 0.0)
    stream.admit(log[10:13])
    stream.set_delivered(13)
    found = stream.recent_since(5, 0.0)
    assert found is not None
    assert [kept.publication.offset for kept in found] == list(range(6, 14))


def test_recent_holds_the_live_publication_that_told_the_position() -> None:
    """10 came live before the answer of a read that ends at 9 was taken; who recovers gets both."""
    log = [pub(number) for number in range(1, 12)]
    stream = stream_at(-1, "")
    stream.keep_recent(0.0)
    stream.admit([log[9]])
    stream.set_delivered(10)
    stream.merge_recent(slice_of(log[:9], 5, 100), 0.0)
    found = stream.recent_since(5, 0.0)
    assert found is not None
    assert [kept.publication.offset for kept in found] == [6, 7, 8, 9, 10]


def test_recent_that_ends_too_early_is_read_again() -> None:
    """What was kept is short of what has been delivered: nobody recovers from it, and it grows no gap."""
    log = [pub(number) for number in range(1, 12)]
    stream = stream_at(10)
    stream.keep_recent(0.0)
    stream.merge_recent(slice_of(log[:8], 5, 100), 0.0)
    assert stream.recent_since(5, 0.0) is None
    stream.admit([log[10]])
    stream.set_delivered(11)
    assert stream.recent_since(5, 0.0) is None
    stream.merge_recent(slice_of(log, 5, 100), 0.0)
    found = stream.recent_since(5, 0.0)
    assert found is not None
    assert [kept.publication.offset for kept in found] == list(range(6, 12))


def test_recent_serves_ranges_up_to_what_was_delivered() -> None:
    """What is admitted and not yet written reaches who joins now as a member."""
    stream = stream_at(5)
    stream.keep_recent(0.0)
    stream.admit([pub(6), pub(7), pub(8)])
    stream.set_delivered(7)
    found = stream.recent_since(5, 0.0)
    assert found is not None
    assert [kept.publication.offset for kept in found] == [6, 7]
    assert stream.recent_since(7, 0.0) == []
    assert stream.recent_since(4, 0.0) is None
    stream.merge_recent(Slice(6, "e", [pub(4), pub(5), pub(6)]), 0.0)
    found = stream.recent_since(3, 0.0)
    assert found is not None
    assert [kept.publication.offset for kept in found] == [4, 5, 6, 7]


def test_recent_is_forgotten_when_nobody_uses_it() -> None:
    """Memory is for those that come back now."""
    stream = stream_at(5)
    stream.keep_recent(10.0)
    stream.admit([pub(6)])
    stream.set_delivered(6)
    stream.forget_recent(before=9.0)
    assert stream.recent_since(5, 10.0) is not None
    stream.forget_recent(before=11.0)
    assert stream.recent_since(5, 12.0) is None


@given(
    lost=st.lists(st.booleans(), min_size=1, max_size=60),
    reads=st.lists(st.integers(0, 5), max_size=60),
    kept=st.integers(1, 80),
    batch=st.integers(1, 7),
)
def test_members_get_the_stream_or_are_told(lost: list[bool], reads: list[int], kept: int, batch: int) -> None:
    """Whatever live publications are lost, whenever the stream is read, however little it keeps."""
    stream = stream_at(0)
    log: list[Publication] = []
    got: list[int] = []
    waits = iter(reads)
    wait = 0
    for start in range(0, len(lost), batch):
        new = [pub(len(log) + 1 + number) for number in range(len(lost[start : start + batch]))]
        log += new
        live = [item for item, is_lost in zip(new, lost[start:], strict=False) if not is_lost]
        got += offsets(stream.admit(list(live)))
        wait = wait - 1 if wait else next(waits, 0)
        if stream.is_healing and not wait:
            since = stream.offset
            ready = stream.fill(slice_of(log, since, kept), since)
            if ready is None:
                break  # told: unsubscribe 2500
            got += offsets(ready)
    else:
        if stream.offset < len(log):  # the check of positions
            stream.is_healing = True
        while stream.is_healing:
            since = stream.offset
            ready = stream.fill(slice_of(log, since, kept), since)
            if ready is None:
                break
            got += offsets(ready)
        else:
            assert got == list(range(1, len(log) + 1))
    assert got == list(range(1, len(got) + 1))
