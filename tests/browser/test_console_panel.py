"""The live panel: rows, what is new, Pause, and its bound."""

from __future__ import annotations

import json

from playwright.sync_api import expect

from clarion.publisher import Publisher
from tests.browser.console_page import Console
from tests.support.product import Product

SCROLL_UP = "document.getElementById('rows').scrollTop = 0"
AT_BOTTOM = "(({ scrollTop, clientHeight, scrollHeight }) => scrollHeight - scrollTop - clientHeight < 2)"
AT_BOTTOM += "(document.getElementById('rows'))"


def test_payload_is_shown_as_text(console: Console, product: Product) -> None:
    """HTML in a message is characters, in the row and in the opened JSON; nothing of it runs or loads."""
    evil = {"html": "<img src=x onerror='window.stolen = 1'><script>window.stolen = 1</script>", "<b>": 1}
    console.open_room("chat:html")
    product.publish("chat:html", evil)
    text = json.dumps(evil, separators=(",", ":"))
    console.expect_received(text)
    console.page.locator(".row-received .row-line").click()
    expect(console.page.locator(".row-json")).to_have_text(json.dumps(evil, indent=2))
    assert console.page.locator("#rows img, #rows script, #rows b").count() == 0
    assert console.page.evaluate("window.stolen") is None


def test_row_shows_time_direction_and_size(console: Console, product: Product) -> None:
    """A row is the time to the millisecond, the direction, the size (exact on hover) and the payload."""
    console.open_room("chat:row")
    product.publish("chat:row", "\u20ac" * 1000)
    console.expect_received('"' + "\u20ac" * 399 + "…")
    row = console.page.locator(".row-received")
    assert row.locator("time").inner_text().count(":") == 2
    assert len(row.locator("time").inner_text().rpartition(".")[2]) == 3
    expect(row.get_by_role("img", name="received")).to_have_text("↓")
    expect(row.locator(".row-size")).to_have_text("2.9 KiB")
    expect(row.locator(".row-size")).to_have_attribute("title", "3,002 bytes")


def test_panel_keeps_to_the_bottom_unless_scrolled_up(console: Console, publisher: Publisher) -> None:
    """At the bottom new rows come into view; scrolled up, the view stays and "n new" leads back."""
    console.open_room("chat:bottom")
    for number in range(60):
        publisher.publish("chat:bottom", number)
    expect(console.rows).to_have_count(60)
    assert console.page.evaluate(AT_BOTTOM)
    expect(console.unseen).to_be_hidden()
    console.page.evaluate(SCROLL_UP)
    for number in range(12):
        publisher.publish("chat:bottom", number)
    expect(console.unseen).to_have_text("12 new ↓")
    assert console.page.evaluate("document.getElementById('rows').scrollTop") == 0
    console.unseen.click()
    expect(console.unseen).to_be_hidden()
    assert console.page.evaluate(AT_BOTTOM)


def test_pause_holds_the_picture_not_the_socket(console: Console, publisher: Publisher) -> None:
    """While paused nothing is drawn but everything is received; Resume shows it."""
    console.open_room("chat:pause")
    publisher.publish("chat:pause", "before")
    console.expect_received('"before"')
    console.page.get_by_role("button", name="Pause").click()
    for number in range(5):
        publisher.publish("chat:pause", number)
    expect(console.unseen).to_have_text("Paused · 5 new")
    expect(console.page.locator("#count")).to_have_text("6 messages")
    expect(console.rows).to_have_count(1)
    console.page.get_by_role("button", name="Resume").click()
    expect(console.received).to_have_text(['"before"', "0", "1", "2", "3", "4"])
    expect(console.unseen).to_be_hidden()


def test_panel_holds_the_last_500_rows(console: Console, publisher: Publisher) -> None:
    """A flood is drawn in a few frames and leaves the last 500 rows; what is being read up there does not move away."""
    console.open_room("chat:flood")
    console.page.evaluate(
        "() => { window.draws = 0; new MutationObserver((changes) => (window.draws += 1))"
        ".observe(document.getElementById('row-list'), { childList: true }); }"
    )
    total = 3000
    for number in range(total):
        publisher.publish("chat:flood", number)
    console.expect_received(str(total - 1))
    expect(console.page.locator("#count")).to_have_text("3,000 messages")
    expect(console.page.locator("#row-list > li")).to_have_count(500)
    assert console.received.all_inner_texts() == [str(number) for number in range(total - 500, total)]
    assert console.page.evaluate(AT_BOTTOM)
    assert console.page.evaluate("window.draws") < total / 2

    console.page.locator(".row-line", has_text="2990").click()
    for number in range(100):
        publisher.publish("chat:flood", f"later {number}")
    expect(console.unseen).to_have_text("100 new ↓")
    expect(console.page.locator(".row-detail")).to_be_in_viewport()
    expect(console.page.locator("#row-list > li")).to_have_count(500)


def test_paused_panel_does_not_grow(console: Console, publisher: Publisher) -> None:
    """What a paused page holds back is bounded, too; the count goes on."""
    console.open_room("chat:held")
    console.page.get_by_role("button", name="Pause").click()
    for number in range(2500):
        publisher.publish("chat:held", number)
    expect(console.unseen).to_have_text("Paused · 2,500 new")
    console.page.get_by_role("button", name="Resume").click()
    console.expect_received("2499")
    expect(console.page.locator("#row-list > li")).to_have_count(500)


def test_row_is_copied_as_indented_json(console: Console, publisher: Publisher) -> None:
    """Copy puts the opened row's JSON on the clipboard and says so."""
    console.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    console.open_room("chat:copy")
    publisher.publish("chat:copy", {"a": [1]})
    console.page.locator(".row-received .row-line").click()
    console.page.locator(".row-detail").get_by_role("button", name="Copy").click()
    expect(console.page.locator(".row-detail").get_by_role("button")).to_have_text("Copied")
    assert console.page.evaluate("navigator.clipboard.readText()") == '{\n  "a": [\n    1\n  ]\n}'
