"""The counter's chart: five sockets at once, for each kind."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.console_page import KeepPicture
from tests.browser.lab_page import Lab

ROWS = 5
COUNTS = 30


def test_chart_is_drawn_for_every_kind(lab: Lab, keep_picture: KeepPicture) -> None:
    """A mark for each of thirty numbers on each of five lanes; one thread makes some sockets wait for others."""
    lab.open("counter")
    for kind, button in {
        "shared": "Five sync, one thread",
        "own": "Five sync, a thread each",
        "async": "Five async",
    }.items():
        lab.card.get_by_role("button", name=button).click()
        expect(lab.card.locator(".chart-said")).to_have_text(re.compile(r"the last number came after \d+\.\d s\.$"))
        expect(lab.card.locator(f".chart-mark.is-{kind}")).to_have_count(ROWS * COUNTS)
        expect(lab.card.get_by_role("button", name=button)).to_be_enabled()

    lab.card.get_by_text("The chart as a table").click()
    rows = [row.split("\t") for row in lab.card.locator(".chart-rows tr").all_inner_texts()]
    assert len(rows) == 3 * ROWS
    firsts: dict[str, list[float]] = {}
    for kind, _, numbers, first, _ in rows:
        assert numbers == str(COUNTS)
        firsts.setdefault(kind, []).append(float(first.removesuffix(" s")))
    shared, own, at_once = firsts.values()
    # Five sockets on two gateways: at least three share a thread, so the last of them waits for two whole counts.
    assert max(shared) > 4
    assert max(own) < max(shared) / 2
    assert max(at_once) < max(shared) / 2
    lab.card.get_by_text("The chart as a table").click()
    lab.card.locator(".chart").scroll_into_view_if_needed()
    keep_picture(lab.page, "lab-light-chart")


def test_chart_names_its_axes_and_kinds_in_words(lab: Lab) -> None:
    """Before any run the axes, their units and the kinds are there; colour only repeats them."""
    lab.open("counter")
    chart = lab.card.get_by_role("img", name=re.compile("^Arrival times"))
    for words in ("seconds after the start", "socket 1", "socket 5", "Async, one event loop · not run"):
        expect(chart.get_by_text(words).first).to_be_visible()


def test_counter_stops_when_the_reader_leaves(lab: Lab) -> None:
    """Going to another lesson closes the five sockets, and the buttons work again on the way back."""
    lab.open("counter")
    lab.card.get_by_role("button", name="Five async").click()
    expect(lab.card.locator(".chart-mark.is-async").first).to_be_attached()
    lab.go_to("JSON")
    lab.go_to("Counter")
    expect(lab.card.locator(".chart-said")).to_contain_text("stopped")
    expect(lab.card.get_by_role("button", name="Five async")).to_be_enabled()
