"""The lab's room over two gateways, its history, and HTML in what people say."""

from __future__ import annotations

import re
import uuid

import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.lab_page import Lab, NewLab

EVIL = "<img src=x onerror='window.stolen = 1'><script>window.stolen = 1</script><b>bold</b>"


@pytest.fixture
def room() -> str:
    """A room that no other test has."""
    return f"room-{uuid.uuid4().hex[:8]}"


def _join(context: BrowserContext, room: str) -> Lab:
    lab = Lab(context.new_page()).open("room", f"?room={room}").expect_open()
    expect(lab.pill).to_have_text(re.compile(r"^Open · gateway-\d$"))
    return lab


def _join_elsewhere(context: BrowserContext, room: str, than: str) -> Lab:
    """Open pages until one is on another gateway: each that is open weighs on its own."""
    for _ in range(8):
        other = _join(context, room)
        if other.node != than:
            return other
    raise AssertionError(f"eight pages, all on {than}")


def test_room_is_shared_by_two_gateways_and_survives_a_reload(new_lab: NewLab, room: str) -> None:
    """What one says the other hears on another gateway; a reload joins the same room and shows what was said."""
    one = new_lab().open("room")
    one.card.get_by_label("Room", exact=True).fill(room)
    one.connect()
    expect(one.pill).to_have_text(re.compile(r"^Open · gateway-\d$"))
    assert f"?room={room}#room" in one.page.url
    other = _join_elsewhere(one.page.context, room, than=one.node)
    assert other.node != one.node

    one.send("first")
    expect(other.card.locator(".chat li")).to_have_text([re.compile(r"^\d\d:\d\d guest first$")])
    other.send("second")
    expect(one.card.locator(".chat li")).to_have_count(2)

    one.page.reload()
    one.expect_open()
    expect(one.card.locator(".chat li")).to_have_text([re.compile("guest first$"), re.compile("guest second$")])
    one.send("third")
    expect(other.card.locator(".chat li")).to_have_count(3)


def test_html_is_shown_as_text(new_lab: NewLab, room: str) -> None:
    """Markup in a message is characters: in the room, in its rows, in its history; nothing of it runs or loads."""
    lab = _join(new_lab().page.context, room)
    lab.send(EVIL)
    for _ in range(2):
        expect(lab.card.locator(".chat li")).to_contain_text([EVIL])
        lab.card.locator(".row-received .row-line").last.click()
        expect(lab.card.locator(".row-json")).to_contain_text("<b>bold</b>")
        assert lab.card.locator(".view img, .view script, .rows img, .rows script, .rows b").count() == 0
        assert lab.page.evaluate("window.stolen") is None
        lab.page.reload()
        lab.expect_open()


def test_bad_room_name_is_refused_with_a_code(new_lab: NewLab) -> None:
    """4400 and what a name may hold; it does not come back by itself, for the answer would be the same."""
    lab = new_lab().open("room")
    lab.part("reconnects").check()
    lab.card.get_by_label("Room", exact=True).fill("no spaces")
    lab.part("connect").click()
    expect(lab.pill).to_have_text("Closed 4400: bad room name")
    expect(lab.part("advice")).to_have_text("Choose a name of 1 to 64 letters, digits, _ and -.")
    expect(lab.events("wait")).to_have_count(0)


def test_group_reaches_every_page_sync_or_async(new_lab: NewLab) -> None:
    """The two consumers share one group."""
    one = new_lab().open("group").connect()
    other = new_lab().open("group").choose("Sync").connect()
    text = uuid.uuid4().hex
    one.send(text)
    for lab in (one, other):
        expect(lab.card.locator(".chat li").filter(has_text=text)).to_have_count(1)
