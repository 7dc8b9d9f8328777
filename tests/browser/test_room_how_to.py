"""docs/how-to/come-back-to-a-room.md: its JavaScript, as a reader pastes it into the console of a page."""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final
from uuid import uuid4

from playwright.sync_api import Browser, ConsoleMessage, StorageState
from redis import Redis

from clarion.names import redis_meta
from clarion.publisher import Publisher
from tests.browser.console_page import DEADLINE_MS
from tests.support.pasting import ROOT, blocks_of
from tests.support.product import Product

HOW_TO: Final = ROOT / "docs" / "how-to" / "come-back-to-a-room.md"


class Reader:
    """A page into whose console the snippet has been pasted."""

    def __init__(self, browser: Browser, product: Product, signed_in: StorageState) -> None:
        self.said: list[list[Any]] = []
        self.urls: list[str] = []
        self.page = browser.new_page(storage_state=signed_in)
        self.page.on("console", self._hear)
        self.page.on("websocket", lambda socket: self.urls.append(socket.url))
        self.page.goto(product.url)
        self._tools = self.page.context.new_cdp_session(self.page)
        self.paste(
            "WebSocket = class extends WebSocket { constructor(...a) { super(...a); globalThis.newest = this; } };"
        )

    def paste(self, lines: str) -> None:
        """As the developer tools do: constants of one paste do not meet those of the next."""
        answer = self._tools.send("Runtime.evaluate", {"expression": lines, "replMode": True})
        assert "exceptionDetails" not in answer, answer

    def until(self, text: str) -> Any:
        """Wait, behind what is done meanwhile, until the page says this."""
        return self.page.expect_console_message(lambda message: message.text == text, timeout=DEADLINE_MS)

    def _hear(self, message: ConsoleMessage) -> None:
        if message.text.startswith(("load", "message")):
            self.said.append([argument.json_value() for argument in message.args])


def test_a_page_comes_back_and_misses_nothing(browser: Browser, product: Product, signed_in: StorageState) -> None:
    """What is published while the socket is gone is shown once it is back, in order; only what is lost is loaded."""
    join, call = (block.text for block in blocks_of(HOW_TO.read_text(encoding="utf-8"), "js"))
    assert len(join.splitlines()) <= 18
    channel, prefix = f"chat:{uuid4().hex}", product.dev["layer_prefix"]
    reader = Reader(browser, product, signed_in)
    redis = Redis.from_url(product.dev["redis_url"])
    publisher = Publisher([product.dev["redis_url"]], prefix=prefix, config=ROOT / "deploy" / "dev" / "clarion.toml")
    with redis, closing(publisher):
        reader.paste(join)
        with reader.until("load"):
            reader.paste(call.replace("chat:lobby", channel))
        with reader.until("message 2"):
            publisher.publish(channel, 1)
            publisher.publish(channel, 2)
        with reader.until("message 4"):
            reader.paste("newest.close()")
            publisher.publish(channel, 3)
            publisher.publish(channel, 4)
        with reader.until("load"):  # 4410, then a join without since
            redis.delete(redis_meta(prefix, channel))
            publisher.publish(channel, 5)
    reader.page.close()
    assert reader.said == [["load"], *(["message", number] for number in (1, 2, 3, 4)), ["load"]]
    places = [url.partition("?envelope=1&")[2].partition("&epoch")[0] for url in reader.urls if "envelope" in url]
    assert places == ["hello=1", "since=2", "hello=1"]
