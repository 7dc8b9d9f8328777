"""The lab as a person uses it: one open lesson."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from playwright.sync_api import Locator, Page, expect

from tests.browser.console_page import DEADLINE_MS


class Lab:
    """The page, and the card of one lesson."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.card = page.locator(".lesson:visible")

    def open(self, slug: str, query: str = "") -> Lab:
        """Load the page with this lesson open."""
        self.page.goto(f"/lab/{query}#{slug}")
        self.card = self.page.locator(f"#{slug}")
        expect(self.card).to_be_visible()
        # The card's own script has run: before that the line is empty.
        expect(self.part("curl")).to_contain_text("Sec-WebSocket-Key")
        return self

    def part(self, name: str) -> Locator:
        """A part of the card that every card has."""
        return self.card.locator(f'[data-part="{name}"]')

    @property
    def pill(self) -> Locator:
        """What the state pill shows."""
        return self.card.locator(".pill-text")

    @property
    def message(self) -> Locator:
        """The composer's field."""
        return self.part("message")

    @property
    def received(self) -> Locator:
        """The payloads of the frames that came."""
        return self.card.locator(".row-received .row-payload")

    @property
    def sent(self) -> Locator:
        """The payloads of the frames that went."""
        return self.card.locator(".row-sent .row-payload")

    def events(self, name: str) -> Locator:
        """What the rows of one of the socket's events say, e.g. ``onclose``."""
        exactly = self.page.locator(".row-label", has_text=re.compile(f"^{name}$"))
        return self.card.locator(".row-note", has=exactly).locator(".row-note-text")

    @property
    def node(self) -> str:
        """The gateway that the pill names."""
        return self.pill.inner_text().partition(" · ")[2]

    def go_to(self, title: str) -> None:
        """Follow the index to another lesson."""
        link = self.page.get_by_role("navigation", name="Lessons", exact=True).get_by_role("link", name=title)
        link.click()
        expect(link).to_have_attribute("aria-current", "true")

    def choose(self, label: str) -> Lab:
        """Choose the consumer of this label."""
        self.part("dial").get_by_label(label, exact=True).check()
        return self

    def connect(self) -> Lab:
        """Press Connect (or Reconnect) and wait until the socket is open."""
        self.part("connect").click()
        return self.expect_open()

    def expect_open(self) -> Lab:
        """Wait until the pill and ``readyState`` say that the socket is open."""
        expect(self.pill).to_have_text(re.compile("^Open"), timeout=DEADLINE_MS)
        expect(self.part("ready")).to_have_text("1 OPEN")
        return self

    def send(self, text: str, *, binary: bool = False) -> None:
        """Type a message and press Enter."""
        self.part("kind").get_by_label("Binary" if binary else "Text", exact=True).check()
        self.message.fill(text)
        self.message.press("Enter")

    def close(self, code: int = 4000, reason: str = "bye") -> None:
        """Close the socket with a code and a reason."""
        self.part("close-code").fill(str(code))
        self.part("close-reason").fill(reason)
        self.card.get_by_role("button", name=f"Close with {code}").click()


NewLab: TypeAlias = Callable[..., Lab]
"""Make a page of somebody who is not signed in, in a profile of its own; nothing is loaded yet."""
