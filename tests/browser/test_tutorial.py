"""docs/tutorial/channels.md, "The browser's side": its JavaScript, as a reader pastes it into the console of a page."""

from __future__ import annotations

from typing import Any, Final

from playwright.sync_api import Browser, CDPSession, ConsoleMessage, Page

from tests.support.pasting import ROOT, blocks_of
from tests.support.product import Product

TUTORIAL: Final = ROOT / "docs" / "tutorial" / "channels.md"
DEADLINE_MS: Final = 60_000


def console_of(page: Page) -> list[list[Any]]:
    """What the page writes to its console from now on, as values."""
    said: list[list[Any]] = []

    def hear(message: ConsoleMessage) -> None:
        said.append([argument.json_value() for argument in message.args])

    page.on("console", hear)
    return said


def paste(tools: CDPSession, lines: str) -> None:
    """As the developer tools do: constants of one paste do not meet those of the next."""
    answer = tools.send("Runtime.evaluate", {"expression": lines, "replMode": True})
    assert "exceptionDetails" not in answer, answer


def test_tutorial_javascript_sends_comes_back_and_stops(browser: Browser, product: Product) -> None:
    """It is answered, comes back after a drop by itself, is answered again, and stays away after ``stop()``."""
    (block,) = blocks_of(TUTORIAL.read_text(encoding="utf-8"), "javascript")
    page = browser.new_page()
    said = console_of(page)
    page.goto(f"{product.url}/lab/")
    tools = page.context.new_cdp_session(page)

    def do(lines: str, until: str) -> None:
        with page.expect_console_message(lambda message: message.text.startswith(until), timeout=DEADLINE_MS):
            paste(tools, lines)

    do(block.text, "open")
    do('send("hello")', "received")
    do('socket.close(4000, "a drop")', "open")  # closed, and open again
    do('send("again")', "received")
    do("stop()", "closed 1000")
    page.close()
    assert said == [
        ["open"],
        ["received", {"msg": "hello", "characters": 5}],
        ["closed", 4000, "a drop"],
        ["open"],
        ["received", {"msg": "again", "characters": 5}],
        ["closed", 1000, "enough"],
    ]
