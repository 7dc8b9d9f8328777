"""clarion.durations: lengths of time as text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clarion.durations import Duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300s", 300), ("24h", 86_400), ("10m", 600), ("1h30m", 5400), ("1h1m1s", 3661), ("500ms", 0.5), ("1.5s", 1.5),
        ("0", 0), ("0s", 0), (".5s", 0.5), ("1us", 1e-6), ("1µs", 1e-6), ("1ns", 1e-9), ("720h", 2_592_000),
    ],
)  # fmt: skip
def test_duration_parse_reads_gos_form(text: str, seconds: float) -> None:
    """What Centrifugo's configuration takes."""
    assert Duration.parse(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    ["", "5", "s", "5 s", " 5s", "5s ", "-5s", "+5s", "5d", "5S", "1e3s", "5s5", "1h-1m", "inf", "nan", "1,5s", "1..5s",
     "5s\n", "１s", "9" * 13 + "s", "99999999h", 5, 5.0, True, None, b"5s", ["5s"]],
)  # fmt: skip
def test_duration_parse_refuses_the_rest(text: Any) -> None:
    """A number without a unit, above all: nobody can tell what it means."""
    with pytest.raises(ValueError, match="duration"):
        Duration.parse(text)


@settings(deadline=None)
@given(st.integers(0, 10**9).map(lambda milliseconds: milliseconds / 1000))
def test_a_duration_is_written_as_it_is_read(seconds: float) -> None:
    """Its text reads back as the same length."""
    assert Duration.parse(str(Duration(seconds))) == pytest.approx(seconds, rel=1e-9)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (5400, "1h30m"), (0.5, "0.5s"), (86_400, "24h"), (61, "1m1s")]
)
def test_a_duration_is_written_shortly(seconds: float, text: str) -> None:
    """Without units that are zero."""
    assert str(Duration(seconds)) == text


@settings(deadline=None)
@given(st.text(alphabet="0123456789.hmsnuµ -+e", max_size=20) | st.text(max_size=20))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    """Never another exception, never a negative or endless one."""
    try:
        duration = Duration.parse(text)
    except ValueError:
        return
    assert 0 <= duration <= 3650 * 86_400
