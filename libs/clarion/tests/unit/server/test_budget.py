"""The process-wide limit on bytes that wait."""

from __future__ import annotations

from clarion.server.budget import SETTLE_MOST, SETTLE_S, Budget
from clarion.server.losses import Lost
from clarion.server.wheel import TICK_S, Wheel


class Queue:
    def __init__(self) -> None:
        self.queued_bytes = 0
        self.is_lost = False

    def lose(self, why: Lost) -> None:
        self.is_lost = True
        self.queued_bytes = 0


def waits(budget: Budget, queue: Queue, size: int) -> None:
    queue.queued_bytes = size
    budget.note(queue, size)


def test_budget_gives_up_who_holds_most() -> None:
    """Over the limit the largest queues go, until three quarters of it are left."""
    budget = Budget(1000, Wheel())
    queues = [Queue() for _ in range(4)]
    for queue, size in zip(queues, (100, 500, 300, 200), strict=True):
        waits(budget, queue, size)
    assert [queue.is_lost for queue in queues] == [False, True, False, False]
    assert budget.total_bytes == 600


def test_budget_counts_anew_before_it_gives_anybody_up() -> None:
    """Queues that went out since they were noted cost nobody the connection."""
    budget = Budget(1000, Wheel())
    drained, busy = Queue(), Queue()
    waits(budget, drained, 800)
    drained.queued_bytes = 0
    waits(budget, busy, 700)
    assert not drained.is_lost
    assert not busy.is_lost
    assert budget.total_bytes == 700


def test_budget_forgets() -> None:
    """A connection that has gone leaves nothing; forgetting twice does no harm."""
    budget = Budget(1000, Wheel())
    queue = Queue()
    waits(budget, queue, 300)
    waits(budget, queue, 400)
    assert budget.total_bytes == 400
    budget.forget(queue)
    budget.forget(queue)
    assert budget.total_bytes == 0


class Clock:
    """A loop that only keeps time."""

    seconds = 100.0

    def time(self) -> float:
        return self.seconds

    def call_at(self, *_: object, **__: object) -> None:
        return None


def test_budget_notices_what_drains() -> None:
    """A socket that drains says nothing: the sum is taken anew each second, for as long as anything waits."""
    wheel, clock = Wheel(), Clock()
    wheel.start(clock)  # type: ignore[arg-type]
    budget = Budget(10**9, wheel)
    queues = [Queue() for _ in range(SETTLE_MOST + 10)]
    for queue in queues:
        waits(budget, queue, 10)
    for queue in queues:
        queue.queued_bytes = 0
    queues[0].queued_bytes = 4
    for _ in range(2):  # so many are not all looked at in one turn of the loop
        for _ in range(int(SETTLE_S / TICK_S) + 2):
            clock.seconds += TICK_S
            wheel._turn()
    assert budget.total_bytes == 4
    queues[0].queued_bytes = 0
    for _ in range(int(SETTLE_S / TICK_S) + 2):
        clock.seconds += TICK_S
        wheel._turn()
    assert (budget.total_bytes, budget.due) == (0, 0)
