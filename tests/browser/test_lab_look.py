"""How the lab looks: views of its states for people to judge, and what it is like without a pointer."""

from __future__ import annotations

import re
import uuid

import pytest
from playwright.sync_api import Page, expect

from tests.browser.console_page import KeepPicture, NewContext
from tests.browser.lab_page import Lab, NewLab
from tests.browser.looks import SHIFTS, VIEWS, expect_fits
from tests.support.product import Product
from ws_gateway.lab.examples import EXAMPLES

NEVER_ANSWERED = """
  globalThis.WebSocket = class extends EventTarget {
    static OPEN = 1;
    readyState = 0;
    close() {}
  };
"""


def _keep(page: Page, keep_picture: KeepPicture, name: str) -> None:
    keep_picture(page, name)
    expect_fits(page)


@pytest.mark.parametrize("view", VIEWS)
def test_every_state_fits_every_view(view: str, new_lab: NewLab, keep_picture: KeepPicture) -> None:
    """Empty, busy and broken: no sideways scroll, enough contrast, one primary button; a picture of each is kept."""
    lab = new_lab(**VIEWS[view])
    gone: list[bool] = []
    lab.page.route_web_socket(
        re.compile("/ws/"), lambda socket: socket.close(code=1012) if gone else socket.connect_to_server()
    )
    lab.open("consumers")
    expect(lab.page.locator(".button.is-primary:visible")).to_have_text("Connect")
    _keep(lab.page, keep_picture, f"lab-{view}-1-empty")

    lab.open("room", f"?room=look-{uuid.uuid4().hex[:6]}").expect_open()
    expect(lab.page.locator(".button.is-primary:visible")).to_have_text("Send")
    for text in ("Hello", "<b>HTML</b> is text here", "a longer line, as people write them in chats, over and over"):
        lab.send(text)
    expect(lab.card.locator(".chat li")).to_have_count(3)
    lab.card.locator(".row-received .row-line").last.click()
    lab.page.evaluate("scrollTo(0, 0)")
    _keep(lab.page, keep_picture, f"lab-{view}-2-busy")

    lab.part("reconnects").check()
    lab.page.evaluate("Math.random = () => 0.99")
    gone.append(True)
    lab.close(4000)
    expect(lab.pill).to_have_text(re.compile(r"^Reconnecting in \d+ s \(try [3-9]\)$"))
    expect(lab.page).to_have_title("Reconnecting · Room · Lab · Clarion")
    expect(lab.page.locator(".button.is-primary:visible")).to_have_text("Reconnect")
    lab.page.evaluate("scrollTo(0, 0)")
    _keep(lab.page, keep_picture, f"lab-{view}-3-broken")


@pytest.mark.parametrize("view", VIEWS)
def test_every_card_fits_every_view(view: str, new_lab: NewLab, keep_picture: KeepPicture) -> None:
    """Each card whole, with its code: the highlighting has enough contrast, and no line is wider than the page."""
    lab = new_lab(**VIEWS[view])
    for example in EXAMPLES:
        lab.open(example.slug)
        closed = lab.card.locator("details:not([open]):visible > summary")
        while closed.count():
            closed.first.click()
        lab.connect()
        lab.message.press("Enter")
        expect(lab.sent).to_have_count(1)
        expect(lab.received).not_to_have_count(0)
        lab.page.evaluate("scrollTo(0, 0)")
        _keep(lab.page, keep_picture, f"lab-{view}-card-{example.slug}")
    lab.card.locator(".source").first.scroll_into_view_if_needed()
    _keep(lab.page, keep_picture, f"lab-{view}-4-code")


@pytest.mark.parametrize("view", VIEWS)
def test_tutorial_fits_every_view(view: str, open_context: NewContext, keep_picture: KeepPicture) -> None:
    """The tutorial as the lab shows it: its tables and its code, too."""
    lab = Lab(open_context(**VIEWS[view]).new_page()).open("consumers")
    lab.page.get_by_role("link", name="Tutorial", exact=True).click()
    expect(lab.page.get_by_role("heading", level=1)).to_be_visible()
    _keep(lab.page, keep_picture, f"lab-{view}-5-tutorial")


def test_lab_is_usable_by_keyboard_alone(lab: Lab) -> None:
    """Tab, arrows, Enter and Space reach and press all that a pointer does; ``/`` jumps to the composer."""
    keys = lab.open("consumers").page.keyboard
    lab.page.get_by_role("link", name="Skip to the page").focus()
    for target in ("Counter", "JSON"):
        _tab_to(lab, "link", re.compile(rf"^\d+ ?{target}$"))
    keys.press("Enter")
    expect(lab.page.locator("#json")).to_be_visible()

    lab.open("consumers")
    _tab_to(lab, "radio", "SyncConsumer")
    keys.press("ArrowRight")
    expect(lab.part("address")).to_have_text(re.compile("/ws/lab/ac/$"))
    keys.press("Enter")
    lab.expect_open()
    expect(lab.message).to_be_focused()
    keys.press("Enter")
    expect(lab.received).to_have_text('{"msg": "Hello"}')

    _tab_to(lab, "radio", "Text")
    keys.press("ArrowRight")
    expect(lab.part("kind").get_by_label("Binary")).to_be_checked()
    keys.press("/")
    expect(lab.message).to_be_focused()
    keys.type("by hand")
    keys.press("Tab")
    keys.press("Tab")
    expect(lab.part("send")).to_be_focused()
    keys.press("Enter")
    expect(lab.sent).to_have_count(2)

    _tab_to(lab, "button", re.compile("sent|received"))
    keys.press("ArrowUp")
    keys.press("Enter")
    expect(lab.card.locator(".row-json")).to_be_visible()
    keys.press("Escape")
    expect(lab.card.locator(".row-json")).to_have_count(0)

    _tab_to(lab, "checkbox", re.compile("^Reconnect"))
    keys.press("Space")
    expect(lab.part("reconnects")).to_be_checked()
    keys.press("Shift+Tab")
    expect(lab.part("close")).to_be_focused()
    keys.press("Enter")
    expect(lab.events("wait")).to_have_count(1)
    lab.expect_open()


def _tab_to(lab: Lab, role: str, name: str | re.Pattern[str], most: int = 40) -> None:
    """Press Tab until what has this role and name has the focus, and can be seen to have it."""
    wanted = lab.page.get_by_role(role, name=name)  # type: ignore[arg-type]  # a role's name, one of Playwright's
    for _ in range(most):
        lab.page.keyboard.press("Tab")
        focused = wanted.and_(lab.page.locator(":focus"))
        if focused.count():
            expect(focused).to_be_in_viewport()
            return
    raise AssertionError(f"no {role} {name} within {most} tabs")


def test_nothing_moves_after_the_first_paint(lab: Lab) -> None:
    """Loading, connecting, answers, an error and a close shift nothing that was there."""
    lab.page.add_init_script(SHIFTS)
    for example in EXAMPLES:
        lab.open(example.slug)
        lab.page.evaluate("window.shifts = 0")
        lab.connect()
        lab.message.press("Enter")
        expect(lab.received).not_to_have_count(0)
        lab.close(4000)
        expect(lab.pill).to_have_text("Closed 4000: bye")
        assert lab.page.evaluate("window.shifts") < 0.01, example.slug


def test_page_is_whole_without_scripts(open_context: NewContext, product: Product) -> None:
    """Who has no JavaScript reads every lesson and its code."""
    page = open_context(java_script_enabled=False).new_page()
    for example in EXAMPLES:
        page.goto(f"{product.url}/lab/#{example.slug}")
        expect(page.locator(f"#{example.slug} .teaches")).to_have_text(" ".join(example.teaches))
        expect(page.locator(f"#{example.slug} .source").first).to_be_visible()
        expect(page.locator(".lesson:visible")).to_have_count(1)


def test_state_is_a_live_region(lab: Lab) -> None:
    """A screen reader hears each state once."""
    lab.open("consumers").connect()
    expect(lab.part("state")).to_have_attribute("aria-live", "polite")
    expect(lab.part("state").locator(".pill-said")).to_have_text("Open")
    expect(lab.page).to_have_title("Consumers · Lab · Clarion")


def test_no_motion_for_who_wants_none(new_lab: NewLab) -> None:
    """Under ``prefers-reduced-motion`` nothing turns while the socket connects."""
    for motion, least in (("no-preference", 1), ("reduce", 0)):
        lab = new_lab(reduced_motion=motion)
        lab.page.add_init_script(NEVER_ANSWERED)
        lab.open("consumers")
        lab.part("connect").click()
        expect(lab.pill).to_have_text("Connecting")
        assert lab.page.evaluate("document.getAnimations().length") == least
