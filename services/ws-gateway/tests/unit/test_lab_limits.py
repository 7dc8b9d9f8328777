"""ws_gateway.lab.limits: slots of the blocking counters, and who is counted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

from ws_gateway.lab.limits import Slots, TooManyCounters, blocking_counters, interval_of, visitor_of


def scope(query: bytes = b"", **more: Any) -> dict[str, Any]:
    return {"query_string": query, **more}


def test_slots_are_counted_for_each_visitor_and_given_back() -> None:
    """The third of one visitor is refused, another visitor's is not; a slot that ends, even by an error, is free."""
    slots = Slots(per_visitor=2, in_all=20)
    with slots.slot("a"), slots.slot("b"):
        with pytest.raises(ZeroDivisionError), slots.slot("a"):
            raise ZeroDivisionError
        with slots.slot("a"):
            with pytest.raises(TooManyCounters), slots.slot("a"):
                raise AssertionError
            assert slots.in_use == 3
    assert slots.in_use == 0
    assert not slots._taken  # nothing is kept of a visitor that has gone


def test_slots_are_counted_for_the_process() -> None:
    """Over the bound of all, a visitor with none is refused as well."""
    slots = Slots(per_visitor=2, in_all=3)
    with slots.slot("a"), slots.slot("b"), slots.slot("b"):
        with pytest.raises(TooManyCounters, match="3"), slots.slot("c"):
            raise AssertionError
        assert slots.in_use == 3


def test_blocking_counters_are_5_a_visitor_and_20_in_all() -> None:
    """The bounds that the lab promises."""
    assert (blocking_counters._per_visitor, blocking_counters._in_all) == (5, 20)


def test_visitor_of_is_the_user_or_the_address() -> None:
    """Anonymous visitors are told apart by their address, not by their port; a signed-in user is one everywhere."""
    user = SimpleNamespace(is_authenticated=True, pk=7)
    assert visitor_of(scope(user=user, client=["::1", 5])) == visitor_of(scope(user=user, client=["::2", 6]))
    anonymous = scope(user=AnonymousUser(), client=["::1", 5])
    assert visitor_of(anonymous) == visitor_of(scope(client=("::1", 6)))
    assert visitor_of(anonymous) != visitor_of(scope(client=["::2", 5]))
    assert visitor_of(scope(client=None)) == visitor_of(scope())  # a server that does not know


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        (b"", 1), (b"interval_ms=100", 0.1), (b"thread=x&interval_ms=50", 0.05), (b"interval_ms=0", 0.05),
        (b"interval_ms=99999", 1), (b"interval_ms=" + b"9" * 5_000, 1), (b"interval_ms=-5", 1), (b"interval_ms=1e2", 1),
        (b"interval_ms=", 1), (b"interval_ms=50&interval_ms=200", 0.2), (b"interval_ms=%C2%B2", 1), (b"%ff=%ff", 1),
    ],
)  # fmt: skip
def test_interval_of_is_bounded(query: bytes, seconds: float) -> None:
    """Nobody counts in a loop without a pause, and nobody holds a slot for longer than 30 s."""
    assert interval_of(scope(query)) == seconds
