"""notifier.retries: waits that grow, are bounded, and differ."""

from __future__ import annotations

from notifier.retries import ROW_RETRY_MAX_S, Backoff, jittered, row_retry_s


def test_jittered_is_between_half_and_all() -> None:
    """Replicas that failed together do not come back together."""
    waits = [jittered(2.0) for _ in range(200)]
    assert 1.0 <= min(waits) < max(waits) <= 2.0


def test_row_retry_doubles_up_to_its_most() -> None:
    """1, 2, 4 … seconds less jitter; five minutes at most, however often it failed."""
    assert 0.5 <= row_retry_s(1, 1.0) <= 1.0
    assert 2.0 <= row_retry_s(3, 1.0) <= 4.0
    assert ROW_RETRY_MAX_S / 2 <= row_retry_s(10_000, 1.0) <= ROW_RETRY_MAX_S


def test_backoff_grows_to_its_bound_and_resets() -> None:
    """A long outage is looked at every two seconds or so; the next one begins quickly again."""
    backoff = Backoff(0.1, 2.0)
    waits = [backoff.next_s() for _ in range(20)]
    assert waits[0] <= 0.1
    assert all(1.0 <= wait <= 2.0 for wait in waits[6:])
    backoff.reset()
    assert backoff.next_s() <= 0.1
