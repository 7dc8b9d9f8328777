"""ws_gateway.protocol.fossil: a delta turns the old text into the new one, by the SDK's own reading of it."""

from __future__ import annotations

import json
import random

from centrifuge.fossil import apply_delta
from hypothesis import given
from hypothesis import strategies as st

from ws_gateway.protocol.fossil import MIDDLE_MAX_BYTES, delta_make

TEXT = st.text(alphabet='abcäö€😀 {}":,\n', max_size=200)


@given(old=TEXT, new=TEXT)
def test_delta_makes_the_new_text_of_any_two(old: str, new: str) -> None:
    """And it is text itself: no character is cut."""
    delta = delta_make(old.encode(), new.encode())
    assert bytes(apply_delta(old.encode(), delta)) == new.encode()
    assert delta.decode()


def test_delta_makes_the_new_text_of_edited_ones() -> None:
    """2,000 texts with pieces inserted, removed and moved; the seed is fixed."""
    chance = random.Random(5)
    for _ in range(2_000):
        old = "".join(chance.choice('abcäö€😀 {}"') for _ in range(chance.randint(0, 400)))
        new = old
        for _ in range(chance.randint(0, 4)):
            at = chance.randint(0, len(new))
            piece = chance.choice(["x", "€€", "hello world, what a day", ""])
            new = new[:at] + piece + new[at + chance.choice([0, 0, 5, 40]) :]
        if chance.random() < 0.3:
            at = chance.randint(0, len(new))
            new = new[at:] + new[:at]
        delta = delta_make(old.encode(), new.encode())
        assert bytes(apply_delta(old.encode(), delta)) == new.encode()
        assert delta.decode() or not new


def test_delta_of_a_small_change_is_small() -> None:
    """36 KB of JSON in which one number changes cost some 30 bytes."""
    rows = [{"id": number, "v": number * 3} for number in range(1_500)]
    old = json.dumps(rows).encode()
    rows[700]["v"] = 9
    assert len(delta_make(old, json.dumps(rows).encode())) < 60


def test_delta_of_two_changes_copies_what_is_between() -> None:
    """The middle is found again, too."""
    middle = "".join(random.Random(1).choice("abcdefghij") for _ in range(1_000))
    old, new = f"one {middle} two", f"three {middle} four"
    delta = delta_make(old.encode(), new.encode())
    assert bytes(apply_delta(old.encode(), delta)) == new.encode()
    assert len(delta) < 60


def test_delta_of_a_long_foreign_middle_is_bounded() -> None:
    """It is inserted as it is."""
    old, new = b"x" * 50_000, b"y" * (MIDDLE_MAX_BYTES + 1)
    assert bytes(apply_delta(old, delta_make(old, new))) == new
