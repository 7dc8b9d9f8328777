"""The channel form and the composer: what a person types, and what comes of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import WebSocketRoute, expect

from tests.browser.console_page import Console, NewConsole
from tests.support.product import Product


def test_unknown_namespace_is_said_and_not_retried(console: Console) -> None:
    """Closed 4404 stays closed; the notice says what happened, what to do, and the code."""
    sockets: list[str] = []
    console.page.on("websocket", lambda socket: sockets.append(socket.url))
    console.page.goto("/")
    console.page.clock.install()
    console.join("nowhere:x")
    console.expect_pill("Closed 4404: no such namespace")
    expect(console.notice).to_contain_text(re.compile(r"No namespace is called nowhere\..*chat:.*4404"))
    console.page.clock.run_for(120_000)
    console.expect_pill("Closed 4404: no such namespace")
    assert len(sockets) == 1


def test_other_users_channel_is_refused(console: Console, product: Product) -> None:
    """Another user's personal channel closes with 4403; the notice names one's own."""
    console.page.goto("/")
    console.join("#someone-else")
    console.expect_pill("Closed 4403: not allowed")
    expect(console.notice).to_contain_text(f"#{product.dev['admin']['id']}")


def test_channel_name_is_checked_while_it_is_typed(console: Console) -> None:
    """A bad name is not joined; the broken rule stands under the field until it is mended."""
    console.page.goto("/")
    console.join("chat room")
    expect(console.page.locator("#channel-help")).to_contain_text("' ' at position 4 is not allowed")
    expect(console.channel).to_be_focused()
    console.expect_pill("Not joined")
    console.channel.fill("chat:room")
    expect(console.page.locator("#channel-help")).to_contain_text("Try")
    console.channel.press("Enter")
    console.expect_open()


def test_error_frame_is_shown_beside_the_composer(console: Console, product: Product) -> None:
    """A refused message comes back into the field with the reason, and is never a received message."""
    console.open_room(f"#{product.dev['admin']['id']}")
    console.send("not for clients")
    expect(console.hint).to_have_text("Refused: this user may not publish to this channel (permission_denied)")
    expect(console.message).to_have_value("not for clients")
    expect(console.message).to_have_attribute("aria-invalid", "true")
    expect(console.received).to_have_count(0)
    expect(console.sent).to_have_count(1)


def test_message_that_is_too_long_does_not_cost_the_connection(console: Console) -> None:
    """Over 64 KiB the gateway would close with 1009: the page refuses first and keeps the text."""
    console.open_room("chat:long")
    text = "x" * 65_536
    console.send(text)
    expect(console.hint).to_contain_text("65,538 bytes")
    expect(console.message).to_have_value(text)
    expect(console.sent).to_have_count(0)
    console.expect_open()


def test_message_written_too_early_stays(console: Console) -> None:
    """Without a connection nothing is sent, and the field says what to do."""
    console.page.goto("/")
    console.send("early")
    expect(console.hint).to_contain_text("Press Join first")
    expect(console.message).to_have_value("early")


def test_composer_keys(console: Console) -> None:
    """Shift+Enter breaks the line, Enter sends, ↑ brings back the last ten, ↓ the draft."""
    console.open_room("chat:keys")
    for number in range(12):
        console.send(f"message {number}")
    console.message.fill("a")
    console.message.press("Shift+Enter")
    console.message.press_sequentially("b")
    expect(console.message).to_have_value("a\nb")
    console.message.press("Enter")
    console.expect_received('"a\\nb"')
    console.message.fill("draft")
    console.message.press("Home")
    for _ in range(20):
        console.message.press("ArrowUp")
    expect(console.message).to_have_value("message 3")  # ten back from "a\nb"
    for _ in range(20):
        console.message.press("ArrowDown")
    expect(console.message).to_have_value("draft")


def test_console_works_by_keyboard_alone(console: Console) -> None:
    """Join, send, open a row, close it, go back to the composer: each with a key, and focus is always somewhere."""
    keyboard = console.page.keyboard
    console.page.goto("/")
    expect(console.channel).to_be_focused()
    keyboard.press("Control+a")
    keyboard.type("chat:keyboard")
    keyboard.press("Enter")
    console.expect_open()
    expect(console.message).to_be_focused()
    keyboard.type('{"a": 1}')
    keyboard.press("Enter")
    console.expect_received('{"a":1}')
    keyboard.press("Shift+Tab")
    last = console.page.locator(".row-received .row-line")
    expect(console.page.locator(".row-line:focus")).to_have_count(1)
    keyboard.press("End")
    expect(last).to_be_focused()
    keyboard.press("Enter")
    expect(console.page.locator(".row-json")).to_have_text('{\n  "a": 1\n}')
    keyboard.press("ArrowUp")
    expect(console.page.locator(".row-sent .row-line")).to_be_focused()
    keyboard.press("Escape")
    expect(console.page.locator(".row-json")).to_have_count(0)
    keyboard.press("/")
    expect(console.message).to_be_focused()
    expect(console.message).to_have_value("")


@pytest.mark.parametrize("channel", ["chat:curl", "personal"])
def test_curl_lines_work_as_pasted(new_console: NewConsole, product: Product, tmp_path: Path, channel: str) -> None:
    """Both lines, copied with their buttons and pasted into a shell in the folder of ``make up``, make a message."""
    (tmp_path / ".run").symlink_to(product.run_dir)
    console = new_console(permissions=["clipboard-read", "clipboard-write"])
    console.open_room(f"#{product.dev['admin']['id']}" if channel == "personal" else channel)
    lines = []
    for button in console.page.locator(".empty").get_by_role("button", name="Copy").all():
        button.click()
        expect(button).to_have_text("Copied")
        lines.append(console.page.evaluate("navigator.clipboard.readText()"))
    run = subprocess.run(
        ["sh", "-ec", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    console.expect_received('{"text":"Hello from curl"}')


def test_title_counts_what_came_while_hidden(console: Console, product: Product) -> None:
    """The title says how many messages came while the page was not looked at, and forgets it on return."""
    console.open_room("chat:title")
    hide = "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
    hide += " document.dispatchEvent(new Event('visibilitychange')); }"
    console.page.evaluate(hide, True)  # a headless page is never hidden by itself
    product.publish("chat:title", 1)
    product.publish("chat:title", 2)
    expect(console.page).to_have_title("(2) chat:title · Clarion")
    console.page.evaluate(hide, False)
    expect(console.page).to_have_title("chat:title · Clarion")


def test_connection_lost_with_a_message_on_the_way(console: Console) -> None:
    """A message that was sent and not seen back when the connection went is in the field again, with the doubt."""

    # Played: a gateway that takes the message and dies, which a real one does not do at a moment of our choice.
    def room(socket: WebSocketRoute) -> None:
        socket.on_message(lambda _: socket.close(code=1012, reason="restart"))
        socket.send('{"hello": {"node": "gateway-9", "channel": "chat:doubt", "user": "1"}}')

    console.page.route_web_socket(re.compile(r"/ws/chat:doubt/"), room)
    console.page.goto("/")
    console.join("chat:doubt")
    console.expect_pill("Open · gateway-9")
    console.send("did it go?")
    expect(console.hint).to_contain_text("it may not have gone through")
    expect(console.message).to_have_value("did it go?")
