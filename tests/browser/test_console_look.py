"""How the pages look: themes, small windows, zoom, motion, and pictures of every state for people to judge."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from clarion.publisher import Publisher
from tests.browser.console_page import Console, KeepPicture, NewConsole, NewContext, Seen
from tests.browser.looks import SHIFTS, VIEWS, expect_fits


@pytest.mark.parametrize("view", VIEWS)
def test_every_state_fits_every_view(
    view: str, new_console: NewConsole, publisher: Publisher, keep_picture: KeepPicture
) -> None:
    """Empty, busy and broken: no sideways scroll, enough contrast, one primary button; a picture of each is kept."""
    console = new_console(**VIEWS[view])
    console.page.goto("/")
    expect(console.page.locator(".button.is-primary:visible")).to_have_text("Join")
    _keep(console, keep_picture, f"console-{view}-1-empty")
    console.join_button.click()
    console.expect_open()
    expect(console.page.locator(".button.is-primary:visible")).to_have_text("Send")
    _keep(console, keep_picture, f"console-{view}-2-joined")

    _fill(console, publisher)
    _keep(console, keep_picture, f"console-{view}-3-busy")
    console.page.locator("#rows").evaluate("(rows) => (rows.scrollTop -= 300)")
    publisher.publish("chat:lobby", {"order": 1042, "state": "delivered"})
    expect(console.unseen).to_have_text("1 new ↓")
    _keep(console, keep_picture, f"console-{view}-4-scrolled")

    console.join("nowhere:room")
    console.expect_pill(re.compile("^Closed 4404"))
    console.send("not sent")
    _keep(console, keep_picture, f"console-{view}-5-broken")


def _fill(console: Console, publisher: Publisher) -> None:
    for number in range(40):
        publisher.publish("chat:lobby", {"order": 1000 + number, "state": "packed", "total": 12.5 * number, "lines": 3})
    console.send('{"text": "Hello", "from": "the console"}')
    console.expect_received('{"text":"Hello","from":"the console"}')
    publisher.publish("chat:lobby", {"user": "ada", "text": "<b>Text is text</b>", "tags": ["a", {"deep": [1, 2, 3]}]})
    opened = console.page.locator(".row-received .row-line", has_text="ada")
    opened.click()
    expect(opened).to_be_in_viewport()
    expect(console.page.locator(".row-json")).to_be_in_viewport(ratio=0.3)


def _keep(console: Console, keep_picture: KeepPicture, name: str) -> None:
    keep_picture(console.page, name)
    expect_fits(console.page)


@pytest.mark.parametrize("view", VIEWS)
def test_reconnecting_fits_every_view(view: str, new_console: NewConsole, keep_picture: KeepPicture) -> None:
    """A lost gateway: the pill counts down, the rows stay, one may reconnect at once."""
    console = new_console(**VIEWS[view])
    console.page.add_init_script("Math.random = () => 0.999")  # the longest waits: time to look
    console.page.route_web_socket(re.compile("/ws/"), lambda socket: socket.close(code=1012, reason="draining"))
    console.page.goto("/?channel=chat:lobby")
    console.expect_pill(re.compile(r"^Reconnecting in \d+ s \(try [3-9]\)$"))
    expect(console.page).to_have_title("Reconnecting · chat:lobby · Clarion")
    expect(console.page.locator(".button.is-primary:visible")).to_have_text("Reconnect")
    _keep(console, keep_picture, f"console-{view}-6-reconnecting")


@pytest.mark.parametrize("view", VIEWS)
def test_signed_out_fits_every_view(view: str, open_context: NewContext, keep_picture: KeepPicture, seen: Seen) -> None:
    """The first page that anybody sees, a refused sign-in, and an error page."""
    console = Console(open_context(**VIEWS[view]).new_page())
    console.page.goto("/")
    _keep(console, keep_picture, f"sign-in-{view}-1-first")
    console.sign_in("somebody", "wrong")
    expect(console.page.get_by_role("alert")).to_be_visible()
    _keep(console, keep_picture, f"sign-in-{view}-2-refused")
    console.page.goto("/nothing-here")
    _keep(console, keep_picture, f"error-{view}")
    seen.errors = [error for error in seen.errors if "401" not in error and "404" not in error]


def test_theme_is_remembered(new_console: NewConsole) -> None:
    """The choice holds after a reload, from the first paint on; "System" goes back to the system's."""
    console = new_console(color_scheme="light")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    console.page.goto("/")
    light = console.page.evaluate(ground)
    console.page.get_by_label("Dark").check()
    dark = console.page.evaluate(ground)
    assert dark != light
    answer = console.page.reload()
    assert answer
    assert 'data-theme="dark"' in answer.text()  # the server wrote it: no flash before the script
    assert console.page.evaluate(ground) == dark
    expect(console.page.get_by_label("Dark")).to_be_checked()
    console.page.get_by_label("System").check()
    console.page.reload()
    assert console.page.evaluate(ground) == light
    expect(console.page.get_by_label("System")).to_be_checked()


def test_nothing_moves_after_the_first_paint(new_console: NewConsole, publisher: Publisher) -> None:
    """Loading, joining by link, receiving and losing the connection shift nothing that was there."""
    console = new_console()
    console.page.add_init_script(SHIFTS)
    console.open_room("chat:still")
    publisher.publish("chat:still", 1)
    console.expect_received("1")
    console.page.get_by_role("button", name="Stop").click()
    console.expect_pill("Stopped")
    assert console.page.evaluate("window.shifts") < 0.01


def test_no_motion_for_who_wants_none(new_console: NewConsole) -> None:
    """Under ``prefers-reduced-motion`` nothing turns while the page connects."""
    for motion, least in (("no-preference", 1), ("reduce", 0)):
        console = new_console(reduced_motion=motion)
        console.page.route_web_socket(re.compile("/ws/"), lambda _: None)  # never says hello
        console.page.goto("/?channel=chat:lobby")
        console.expect_pill("Connecting")
        assert console.page.evaluate("document.getAnimations().length") == least


def test_state_is_a_live_region(console: Console) -> None:
    """A screen reader hears each state once: the countdown is for the eye."""
    console.open_room()
    pill = console.page.locator("#state")
    expect(pill).to_have_attribute("aria-live", "polite")
    expect(pill.locator(".pill-said")).to_have_text(re.compile(r"^Open · gateway-\d$"))
    expect(pill.locator(".pill-text")).to_have_attribute("aria-hidden", "true")
