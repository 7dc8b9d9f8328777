"""permessage-deflate with a real browser, through nginx."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final
from uuid import uuid4

import pytest
from playwright.sync_api import Browser

from clarion.publisher import Publisher
from tests.support.pasting import ROOT
from tests.support.product import Product
from tests.support.product import product as product_run
from tests.support.waiting import wait_until

BIG: Final = {"text": "the same words again and again " * 300}
JOIN: Final = """async ([url, token]) => {
    window.got = [];
    window.socket = new WebSocket(url, ["clarion", token]);
    socket.onmessage = (message) => got.push(JSON.parse(message.data));
    await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onclose = reject; });
    return socket.extensions;
}"""


@pytest.fixture(scope="module")
def deflating() -> Iterator[Product]:
    """The product with compression on."""
    with product_run(gateways=1, env={"CLARION_DEFLATE": "true"}) as running:
        yield running


def test_browser_reads_and_sends_compressed(browser: Browser, deflating: Product) -> None:
    """Chromium agrees without takeover either way; both directions arrive whole, and fewer bytes travel."""
    channel = f"chat:{uuid4().hex}"
    prefix, config = deflating.dev["layer_prefix"], ROOT / "deploy" / "dev" / "clarion.toml"
    page = browser.new_page()
    page.goto(deflating.url)
    url = f"ws{deflating.url.removeprefix('http')}/ws/{channel}/"
    extensions = page.evaluate(JOIN, [url, deflating.token("7")])
    assert {part.strip() for part in extensions.split(";")} == {
        "permessage-deflate",
        "server_no_context_takeover",
        "client_no_context_takeover",
    }
    wanted: list[Any] = []
    with closing(Publisher([deflating.dev["redis_url"]], prefix=prefix, config=config)) as publisher:
        for number in range(5):
            publisher.publish(channel, BIG | {"number": number})
            page.evaluate("(data) => socket.send(JSON.stringify(data))", BIG | {"mine": number})
            wanted += [BIG | {"number": number}, BIG | {"mine": number}]
        wait_until(lambda: len(page.evaluate("got")) == len(wanted), what="both directions arrive")
    assert sorted(map(str, page.evaluate("got"))) == sorted(map(str, wanted))
    page.close()
