"""The process-wide limit on bytes that wait."""

from __future__ import annotations

from clarion.server.budget import Budget


class Queue:
    def __init__(self) -> None:
        self.queued_bytes = 0
        self.is_lost = False

    def lose(self, why: str) -> None:
        self.is_lost = True
        self.queued_bytes = 0


def waits(budget: Budget, queue: Queue, size: int) -> None:
    queue.queued_bytes = size
    budget.note(queue, size)


def test_budget_gives_up_who_holds_most() -> None:
    """Over the limit the largest queues go, until three quarters of it are left."""
    budget = Budget(1000)
    queues = [Queue() for _ in range(4)]
    for queue, size in zip(queues, (100, 500, 300, 200), strict=True):
        waits(budget, queue, size)
    assert [queue.is_lost for queue in queues] == [False, True, False, False]
    assert budget.total_bytes == 600


def test_budget_counts_anew_before_it_gives_anybody_up() -> None:
    """Queues that went out since they were noted cost nobody the connection."""
    budget = Budget(1000)
    drained, busy = Queue(), Queue()
    waits(budget, drained, 800)
    drained.queued_bytes = 0
    waits(budget, busy, 700)
    assert not drained.is_lost
    assert not busy.is_lost
    assert budget.total_bytes == 700


def test_budget_forgets() -> None:
    """A connection that has gone leaves nothing; forgetting twice does no harm."""
    budget = Budget(1000)
    queue = Queue()
    waits(budget, queue, 300)
    waits(budget, queue, 400)
    assert budget.total_bytes == 400
    budget.forget(queue)
    budget.forget(queue)
    assert budget.total_bytes == 0
