"""notifier.health: what the probes see."""

from __future__ import annotations

import json

from clarion.internal import Request
from notifier import health
from notifier.health import Health


def answer(state: Health, kind: str) -> tuple[int, dict[str, str]]:
    response = state.routes()[f"GET /health/{kind}"](Request({}))
    return response.status, json.loads(response.body)["checks"]


def test_health_is_ready_when_everything_is() -> None:
    """Not before: nothing has been asked at the start."""
    state = Health()
    assert answer(state, "ready")[0] == 503
    for name in ("database", "redis", "worker"):
        state.set(name, "ok")
    assert answer(state, "ready") == (200, dict.fromkeys(("database", "redis", "worker", "loop"), "ok"))


def test_health_lives_while_the_loop_turns() -> None:
    """An outage outside is no reason for a restart; a loop that stands still is, after its time."""
    state = Health()
    state.set("redis", "unavailable: TimeoutError")
    assert answer(state, "live") == (200, {"loop": "ok"})
    state._beat_at -= health.LOOP_STALL_S + 1
    assert answer(state, "ready")[1]["loop"].startswith("stalled")
    assert answer(state, "live")[0] == 200
    state._beat_at -= health.LOOP_DEAD_S
    assert answer(state, "live")[0] == 503
    state.beat()
    assert answer(state, "live")[0] == 200
