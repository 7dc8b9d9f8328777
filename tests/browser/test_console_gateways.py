"""Two pages on two gateways, through nginx: the console's main job, and the death of a gateway."""

from __future__ import annotations

import re

from playwright.sync_api import BrowserContext, expect

from tests.browser.console_page import ROOM, Console, NewConsole, NewContext, Seen
from tests.support.product import Product


def _open_on_another_gateway(context: BrowserContext, than: str) -> Console:
    """Open pages until one is on another gateway; nginx gives a connection to the one that has the fewest."""
    for _ in range(8):
        other = Console(context.new_page()).open_room()
        if other.node != than:
            return other
        # The page stays open: its connection weighs on its gateway, so the next goes elsewhere.
    raise AssertionError(f"eight pages, all on {than}")


def test_console_message_crosses_gateways_and_survives_one(
    open_context: NewContext, product: Product, seen: Seen
) -> None:
    """Sign in, join, send: a page on the other gateway shows it; its gateway dies, it comes back and shows the next."""
    context = open_context()
    console = Console(context.new_page())
    console.page.goto("/")
    console.sign_in(product.dev["admin"]["username"], product.dev["admin"]["password"])
    expect(console.channel).to_have_value(ROOM)
    console.join_button.click()
    node = console.expect_open()
    other = _open_on_another_gateway(context, than=node)

    console.send('{"text": "before"}')
    other.expect_received('{"text":"before"}')
    console.expect_received('{"text":"before"}')
    expect(console.sent).to_have_text('{"text": "before"}')

    dead = other.node
    pid = product.kill(dead)
    expect(other.notes).to_contain_text([f"Joined {ROOM} on", re.compile(r"^Left: .+ \(1006\)$"), f"Joined {ROOM} on"])
    other.expect_open()
    expect(other.received).to_have_text(['{"text":"before"}'])  # a lost connection clears nothing
    console.send("after")
    other.expect_received('"after"')
    expect(console.notes).to_have_count(1)  # the page on the other gateway noticed nothing

    product.wait_restarted(dead, pid)
    seen.errors = [error for error in seen.errors if "WebSocket connection to" not in error]  # of the dead gateway


def test_console_reconnects_when_the_network_returns(new_console: NewConsole) -> None:
    """After the device was offline, an open socket may be dead without knowing: the page takes a new one at once."""
    console = new_console()
    console.open_room()
    console.page.context.set_offline(True)
    console.page.context.set_offline(False)
    expect(console.notes).to_have_count(2)
    console.expect_open()


def test_console_stop_and_reconnect_by_hand(new_console: NewConsole, product: Product) -> None:
    """Stop leaves the channel and keeps the rows; Reconnect joins it again; what was sent meanwhile is not shown."""
    console = new_console()
    console.open_room("chat:stop")
    product.publish("chat:stop", "one")
    console.expect_received('"one"')
    console.page.get_by_role("button", name="Stop").click()
    console.expect_pill("Stopped")
    product.publish("chat:stop", "two")
    console.page.get_by_role("button", name="Reconnect").click()
    console.expect_open()
    product.publish("chat:stop", "three")
    console.expect_received('"three"')
    expect(console.received).to_have_text(['"one"', '"three"'])
