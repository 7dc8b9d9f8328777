"""The console as a person uses it, and what the browser saw meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect

DEADLINE_MS: Final = 60_000
"""Generous: the whole product and a browser share two loaded cores."""

ROOM: Final = "chat:lobby"


@dataclass
class Seen:
    """What a page's browser reported."""

    origin: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Note console errors (a refused policy is one), uncaught exceptions and requests to other origins."""
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._address(request.url))
        page.on("websocket", lambda socket: self._address(socket.url))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _address(self, url: str) -> None:
        if not url.replace("ws://", "http://", 1).startswith((f"{self.origin}/", "data:", "blob:")):
            self.foreign.append(url)


def context_open(browser: Browser, origin: str, **options: Any) -> BrowserContext:
    """A browser profile of its own: own cookies, own theme."""
    context = browser.new_context(base_url=origin, locale="en-GB", timezone_id="UTC", **options)
    context.set_default_timeout(DEADLINE_MS)
    context.set_default_navigation_timeout(DEADLINE_MS)
    return context


class Console:
    """One open page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.channel = page.get_by_label("Channel", exact=True)
        self.join_button = page.locator("#join")
        self.message = page.get_by_label("Message", exact=True)
        self.pill = page.locator("#state .pill-text")
        self.hint = page.locator("#message-hint")
        self.notice = page.locator("#notice")
        self.unseen = page.locator("#unseen")
        self.rows = page.locator(".row-sent, .row-received")
        self.received = page.locator(".row-received .row-payload")
        self.sent = page.locator(".row-sent .row-payload")
        self.notes = page.locator(".row-note-text")

    def sign_in(self, username: str, password: str) -> None:
        """Fill in the form that is shown and press its button."""
        self.page.get_by_label("User name").fill(username)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()

    def join(self, channel: str) -> None:
        """Type a channel's name and press Join."""
        self.channel.fill(channel)
        self.join_button.click()

    def open_room(self, channel: str = ROOM) -> Console:
        """Open the deep link of a channel and wait until it is joined."""
        self.page.goto(f"/?channel={channel.replace('#', '%23')}")
        self.expect_open()
        return self

    def send(self, text: str) -> None:
        """Type a message and press Enter."""
        self.message.fill(text)
        self.message.press("Enter")

    def expect_pill(self, text: str | re.Pattern[str]) -> None:
        """Wait for the state pill to say this."""
        expect(self.pill).to_have_text(text, timeout=DEADLINE_MS)

    def expect_open(self) -> str:
        """Wait until the pill names a gateway, and return its name."""
        self.expect_pill(re.compile(r"^Open · .+"))
        return self.node

    @property
    def node(self) -> str:
        """The gateway that the pill names."""
        return self.pill.inner_text().partition(" · ")[2]

    def expect_received(self, text: str, count: int = 1) -> None:
        """Wait for received rows whose payload is exactly this."""
        expect(self._exactly(self.received, text)).to_have_count(count, timeout=DEADLINE_MS)

    def _exactly(self, cells: Locator, text: str) -> Locator:
        return cells.filter(has_text=re.compile(f"^{re.escape(text)}$"))


NewContext: TypeAlias = Callable[..., BrowserContext]
"""Make a watched browser profile; options are those of Playwright's ``new_context``."""

NewConsole: TypeAlias = Callable[..., Console]
"""Make a page of the signed-in administrator in a profile of its own; same options; nothing is loaded yet."""

KeepPicture: TypeAlias = Callable[[Page, str], None]
"""Keep a screenshot of the page under this name."""
