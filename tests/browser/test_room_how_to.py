"""docs/how-to/come-back-to-a-room.md: its JavaScript, as a reader pastes it into the console of a page."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

from playwright.sync_api import Browser, ConsoleMessage, StorageState

from clarion.publisher import Publisher
from tests.browser.console_page import DEADLINE_MS
from tests.support.pasting import ROOT, blocks_of
from tests.support.product import Product

HOW_TO: Final = ROOT / "docs" / "how-to" / "come-back-to-a-room.md"


def test_a_page_comes_back_and_misses_nothing(
    browser: Browser, product: Product, signed_in: StorageState, publisher: Publisher
) -> None:
    """What is published while the network is gone is shown once it is back, once, in order; nothing is loaded anew."""
    client, call = (block.text for block in blocks_of(HOW_TO.read_text(encoding="utf-8"), "js"))
    assert len([line for line in client.splitlines() if line]) <= 18
    channel = f"chat:{uuid4().hex}"
    page = browser.new_page(storage_state=signed_in, base_url=product.url)
    said: list[list[Any]] = []
    page.on("console", lambda message: said.append([argument.json_value() for argument in message.args]))
    page.on("websocket", lambda socket: urls.append(socket.url))
    urls: list[str] = []
    page.goto("/")
    tools = page.context.new_cdp_session(page)

    def paste(lines: str) -> None:
        answer = tools.send("Runtime.evaluate", {"expression": lines, "replMode": True})
        assert "exceptionDetails" not in answer, answer

    def is_from_join(message: ConsoleMessage) -> bool:
        return message.text in ("load", "message 2", "message 4")

    def expect() -> Any:
        return page.expect_console_message(is_from_join, timeout=DEADLINE_MS)

    paste(client)
    paste("const open = []; const Real = WebSocket;")
    paste("WebSocket = function (...args) { open.push(new Real(...args)); return open.at(-1); };")
    with expect():
        paste(call.replace("chat:lobby", channel))
    with expect():
        publisher.publish(channel, 1)
        publisher.publish(channel, 2)
    with expect():
        paste("open.at(-1).close()")
        publisher.publish(channel, 3)
        publisher.publish(channel, 4)
    page.close()
    assert [line for line in said if line[0] in ("load", "message")] == [
        ["load"],
        *(["message", n] for n in (1, 2, 3, 4)),
    ]
    assert any(f"/ws/{quote(channel, safe='')}/?envelope=1&since=2&epoch=" in url for url in urls)
