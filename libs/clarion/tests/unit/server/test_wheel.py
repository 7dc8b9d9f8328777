"""The wheel: deadlines of all connections on one timer."""

from __future__ import annotations

import asyncio

from clarion.server.wheel import MAX_TICKS, TICK_S, Wheel


class Sleeper:
    def __init__(self, wheel: Wheel, *, fails: bool = False) -> None:
        self.due = 0
        self.wheel = wheel
        self.fails = fails
        self.woken_at: list[int] = []

    def wake(self) -> None:
        self.woken_at.append(self.wheel._tick)
        if self.fails:
            raise RuntimeError("on purpose")


class Clock:
    """A loop that only keeps time; the test turns the wheel."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def time(self) -> float:
        return self.seconds

    def call_at(self, *_: object, **__: object) -> None:
        return None


class Connection:
    """An owner of sleepers."""

    def __init__(self, *, is_ended: bool = False) -> None:
        self.is_ended = is_ended
        self.failures: list[int] = []

    def fail(self, code: int, reason: str = "") -> None:
        self.failures.append(code)


def started() -> tuple[Wheel, Clock]:
    wheel, clock = Wheel(), Clock()
    wheel.start(clock)  # type: ignore[arg-type]
    return wheel, clock


def turn(wheel: Wheel, clock: Clock, times: int = 1, each_s: float = TICK_S) -> None:
    for _ in range(times):
        clock.seconds += each_s
        wheel._turn()


def test_wheel_never_wakes_early() -> None:
    """A sleeper is woken once, after its delay and within two ticks of it."""
    wheel, clock = started()
    sleeper = Sleeper(wheel)
    wheel.schedule(sleeper, 1.0)
    turn(wheel, clock, round(1.0 / TICK_S))
    assert sleeper.woken_at == []
    turn(wheel, clock, 2)
    assert len(sleeper.woken_at) == 1
    assert sleeper.due == 0
    turn(wheel, clock, 40)
    assert len(sleeper.woken_at) == 1


def test_wheel_keeps_the_last_schedule() -> None:
    """Scheduling again replaces, cancelling forgets; neither leaves a reference behind."""
    wheel, clock = started()
    moved, cancelled = Sleeper(wheel), Sleeper(wheel)
    wheel.schedule(moved, 1.0)
    wheel.schedule(moved, 5.0)
    wheel.schedule(cancelled, 1.0)
    wheel.cancel(cancelled)
    assert sum(map(len, wheel._buckets.values())) == 1
    turn(wheel, clock, 12)
    assert moved.woken_at == cancelled.woken_at == []
    turn(wheel, clock, 12)
    assert len(moved.woken_at) == 1


def test_wheel_outlives_a_failing_sleeper() -> None:
    """One connection's fault is logged and stops nobody else's deadline."""
    wheel, clock = started()
    sleepers = [Sleeper(wheel, fails=True), Sleeper(wheel)]
    for sleeper in sleepers:
        wheel.schedule(sleeper, TICK_S)
    turn(wheel, clock, 4)
    assert [len(sleeper.woken_at) for sleeper in sleepers] == [1, 1]


def test_wheel_does_not_make_up_for_a_pause_at_once() -> None:
    """After a pause of the process at most a few ticks come in one turn: the sockets are read before timeouts."""
    wheel, clock = started()
    sleeper = Sleeper(wheel)
    wheel.schedule(sleeper, 20.0)
    turn(wheel, clock, each_s=60.0)
    assert sleeper.woken_at == []
    assert wheel._tick == MAX_TICKS


def test_patience_stands_still_while_the_loop_is_behind() -> None:
    """Time in which the loop lags is nobody's handshake time."""
    wheel, clock = started()
    turn(wheel, clock, 4)
    assert wheel.patience == 4 * TICK_S
    turn(wheel, clock, 4, each_s=1.0)
    assert wheel.patience == 4 * TICK_S


async def test_wheel_turns_on_a_real_loop() -> None:
    """The wheel arms itself again."""
    wheel, woken = Wheel(), asyncio.Event()
    sleeper = Sleeper(wheel)
    sleeper.wake = woken.set  # type: ignore[method-assign]
    wheel.start(asyncio.get_running_loop())
    wheel.schedule(sleeper, 3 * TICK_S)
    async with asyncio.timeout(20):
        await woken.wait()


def test_wheel_fails_the_owner_of_a_sleeper_that_raises() -> None:
    """A connection whose timer raises is ended with 1011; who is woken after it is woken all the same."""
    wheel, clock = started()
    failing, sleeper, connection, other = Sleeper(wheel, fails=True), Sleeper(wheel), Connection(), Connection()
    wheel.schedule(failing, 1.0, connection)
    wheel.schedule(sleeper, 1.0, other)
    turn(wheel, clock, 10)
    assert (connection.failures, other.failures) == ([1011], [])
    assert len(sleeper.woken_at) == 1


def test_wheel_does_not_wake_for_an_ended_owner() -> None:
    """After a connection's end none of its timers is called."""
    wheel, clock = started()
    sleeper = Sleeper(wheel)
    wheel.schedule(sleeper, 1.0, Connection(is_ended=True))
    turn(wheel, clock, 10)
    assert (sleeper.woken_at, sleeper.due) == ([], 0)
