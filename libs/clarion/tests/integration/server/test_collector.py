"""The garbage collector: no walk through all that lives, and no garbage that stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from clarion.server.collector import THAW_OBJECTS
from tests.support.waiting import wait_until

from .server_process import ServerProcess

OLD = 30_000  # new objects that make a young and a middle collection, so that something is old


@pytest.fixture
def alone(start: Callable[..., ServerProcess]) -> ServerProcess:
    return start()


def settled(server: ServerProcess, lists: int) -> dict[str, int]:
    """Make objects that live, and wait until they are frozen."""
    before = server.control("collections")["frozen"]
    server.control("grow", lists=lists)
    wait_until(lambda: server.control("collections")["frozen"] >= before + lists * 9 // 10, what="the old are frozen")
    return dict(server.control("collections"))


def test_what_lives_is_not_walked(alone: ServerProcess) -> None:
    """Eighty thousand objects grow old: Python by itself would have walked everything some times; nothing does."""
    before = alone.control("collections")
    for _ in range(2):
        after = settled(alone, 40_000)
    assert after["full"] == before["full"]
    assert after["thaws"] == 0


def test_young_cycles_are_found_as_ever(alone: ServerProcess) -> None:
    """What dies soon is found soon, without a look at what lives."""
    for _ in range(5):
        alone.control("grow", lists=0, cycles=2_000)
        alone.control("shrink")
        alone.control("grow", lists=OLD)
        wait_until(lambda: alone.control("collections")["markers"] < 100, what="the cycles are gone")
        alone.control("shrink")
    assert alone.control("collections")["thaws"] == 0


def test_old_cycles_are_found_when_much_has_grown_old(alone: ServerProcess) -> None:
    """Cycles that were frozen while they lived stay until there is a sign of garbage; then they go."""
    alone.control("grow", lists=0, cycles=2_000)
    settled(alone, OLD)
    alone.control("shrink")
    settled(alone, OLD)
    assert alone.control("collections")["markers"] >= 2_000, "frozen, or this test shows nothing"
    for _ in range(30):
        alone.control("grow", lists=THAW_OBJECTS // 2)
        settled(alone, OLD)
        if alone.control("collections")["markers"] == 0:
            break
    assert alone.control("collections")["markers"] == 0
    assert alone.control("collections")["thaws"] <= 3


@pytest.mark.timeout(240)
def test_sessions_that_leave_cycles_do_not_fill_the_memory(alone: ServerProcess, name: str) -> None:
    """50,000 connects and disconnects: 4,000 old sessions in cycles with 20 KB each, 46,000 that come and go."""
    path = f"/ws/detach?name={name}&kind="
    for client in [alone.open(f"{path}cycle") for _ in range(200)]:
        client.reset()
    before, most = alone.memory_bytes(), 0
    for _ in range(10):
        clients = [alone.open(f"{path}cycle") for _ in range(400)]
        settled(alone, OLD)
        alone.control("shrink")
        for client in clients:
            client.reset()
        alone.clients.clear()
        for _ in range(4_600):
            alone.open(f"{path}silent").reset()
            alone.clients.clear()
        most = max(most, alone.memory_bytes() - before)
    wait_until(lambda: alone.control("collections")["undead"] < 400, what="the cycles are found")
    assert alone.control("collections")["thaws"] >= 3
    assert most < 40_000_000, f"{most} bytes more, of 80 MB in cycles"
