"""When the collector looks through all that lives. It freezes for the whole process, so each test thaws."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from clarion.server.collector import OBJECTS_OF_CONNECTION, THAW_OBJECTS, THAW_UNDEAD, Collector


@pytest.fixture
def shared() -> Iterator[Any]:
    gc.freeze()
    yield SimpleNamespace(sockets=set[int](), undead=0)
    gc.enable()
    gc.unfreeze()


def aged(count: int) -> list[Any]:
    """Objects that have lived through two young collections."""
    made: list[Any] = [[] for _ in range(count)]
    gc.collect(1)
    return made


def test_step_freezes_what_is_old(shared: Any) -> None:
    """And nothing is frozen twice, or thawed for it."""
    collector, before = Collector(shared), gc.get_freeze_count()
    kept = aged(1_000)
    collector.step()
    frozen = gc.get_freeze_count()
    assert frozen >= before + len(kept)
    collector.step()
    assert gc.get_freeze_count() == frozen
    assert collector.thaws == 0


def test_collector_that_is_off_stays_off(shared: Any) -> None:
    """An application that disables Python's collector is not overruled."""
    collector, before = Collector(shared), gc.get_freeze_count()
    kept = aged(THAW_OBJECTS * 2)
    gc.disable()
    shared.undead = 10 * THAW_UNDEAD
    collector.step()
    assert (gc.get_freeze_count(), collector.thaws) == (before, 0)
    del kept


def test_growth_without_connections_is_a_sign(shared: Any) -> None:
    """As many objects as lived before, and no connection to account for them; with connections it is none."""
    collector = Collector(shared)
    kept = aged(THAW_OBJECTS + 5_000)
    shared.sockets = set(range(THAW_OBJECTS // OBJECTS_OF_CONNECTION))
    collector.step()
    assert collector.thaws == 0
    shared.sockets.clear()
    collector.step()
    assert collector.thaws == 1
    del kept


def test_undead_connections_are_a_sign(shared: Any) -> None:
    """Some hundreds, or a quarter of those that are open."""
    collector = Collector(shared)
    shared.sockets = set(range(8_000))
    shared.undead = 2_000
    collector.step()
    assert collector.thaws == 0
    shared.undead = 2_001
    collector.step()
    assert collector.thaws == 1


def test_futile_thaws_become_rare(shared: Any) -> None:
    """Somebody keeps ended connections, for good reasons: the pauses double their distance; a find resets that."""
    collector = Collector(shared)
    thawed_at = []
    for undead in range(0, 40 * THAW_UNDEAD, THAW_UNDEAD // 2):
        before, shared.undead = collector.thaws, undead
        collector.step()
        if collector.thaws > before:
            thawed_at.append(undead)
    assert collector.thaws == 6
    distances = [after - before for before, after in itertools.pairwise(thawed_at)]
    assert distances == sorted(distances)
    assert distances[-1] > 7 * THAW_UNDEAD
