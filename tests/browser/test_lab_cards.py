"""Each card of the lab: connect, send, receive, close with a code, reconnect; and what is special about it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Final

import httpx
import pytest
from playwright.sync_api import StorageState, expect

from tests.browser.console_page import Console, NewContext, Seen
from tests.browser.lab_page import Lab, NewLab
from tests.support.product import Product
from ws_gateway.lab.examples import EXAMPLES, Example, Variant
from ws_gateway.lab.sources import PACKAGE

VARIANTS: Final = [
    pytest.param(example, variant, id=f"{example.slug}-{variant.label}")
    for example in EXAMPLES
    for variant in example.variants
]
ANSWERS: Final = {
    "counter": '{"count": 1}',
    "json": '{"msg": "Hello", "characters": 5}',
    "room": '"msg": "Hello"',
    "who-am-i": '"code": "unauthorized"',
    "subprotocol": '{"msg": "Hello", "subprotocol": "lab.v2"}',
    "direct": re.compile('{"msg": "Hello", "from": "'),
    "worker": '"done": 0',
}
"""What answers the message that the composer offers; else it is the message itself."""

HTML: Final = "<img src=x onerror=window.stolen=1><b>html</b>"
UNECHOED: Final = ("counter", "who", "subprotocol", "worker")
"""Their views show no visitor's text; who has signed in writes it on "Who am I", which has a test of its own."""


@pytest.mark.parametrize(("example", "variant"), VARIANTS)
def test_card_connects_sends_receives_closes_and_comes_back(example: Example, variant: Variant, lab: Lab) -> None:
    """Every event of the socket is a row under its own name; what was offered is sent, and answered."""
    lab.open(example.slug)
    if len(example.variants) > 1:
        lab.choose(variant.label)
    lab.connect()
    expect(lab.events("new")).to_have_text(re.compile(f"^ws://.+{re.escape(variant.path)}"))
    expect(lab.events("onopen")).to_have_count(1)

    lab.message.press("Enter")
    expect(lab.sent).to_have_count(1)
    answer = ANSWERS.get(example.slug, '"msg": "Hello"')
    expect(lab.received.filter(has_text=answer)).not_to_have_count(0)
    assert json.loads(lab.sent.inner_text())["msg"] in ("Hello", "start")

    lab.close(4001, "enough")
    expect(lab.pill).to_have_text("Closed 4001: enough")
    expect(lab.part("ready")).to_have_text("3 CLOSED")
    expect(lab.events("onclose")).to_have_text('code 4001, reason "enough", wasClean true')

    expect(lab.part("connect")).to_have_text("Reconnect")
    lab.connect()
    expect(lab.events("onopen")).to_have_count(2)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.slug)
def test_card_shows_the_code_that_runs(example: Example, lab: Lab, product: Product) -> None:
    """The consumer's file and the served module, character for character; Copy hands them over; the tutorial has it."""
    lab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    lab.open(example.slug)
    for variant in example.variants:
        if len(example.variants) > 1:
            lab.choose(variant.label)
        expect(lab.card.locator(".source[data-variant]:visible")).to_have_count(1)
        _expect_source(lab, f"consumers/{variant.source}", (PACKAGE / "consumers" / variant.source).read_text())
    with httpx.Client(trust_env=False) as client:
        served = client.get(f"{product.url}/lab/static/{example.module}").text
    _expect_source(lab, example.module, served)
    assert example.module in lab.page.evaluate("performance.getEntriesByType('resource').map((e) => e.name).join()")

    link = lab.card.get_by_role("link", name="in the tutorial")
    lab.page.goto(str(link.get_attribute("href")))
    expect(lab.page.locator(f"h2#{example.slug}")).to_be_in_viewport()


def _expect_source(lab: Lab, name: str, text: str) -> None:
    box = lab.card.get_by_label(name, exact=True)
    assert box.evaluate("(node) => node.textContent") == text
    assert box.locator(".line").count() == len(text.splitlines())
    copy = lab.card.get_by_role("button", name=f"Copy {name}")
    copy.click()
    expect(copy).to_have_text("Copied")
    assert lab.page.evaluate("navigator.clipboard.readText()") == text.strip()


def test_binary_frames_go_and_come(lab: Lab) -> None:
    """A binary frame is shown as bytes with their characters, and its size is that of the bytes."""
    lab.open("generic-consumers").choose("AsyncWebsocketConsumer").connect()
    lab.send("bytes \u20ac", binary=True)
    expect(lab.received).to_have_text(re.compile(r"^binary\s+0000 +62 79 74 65 73 20 e2 82 ac +bytes \.\.\.$"))
    expect(lab.card.locator(".row-received .row-size")).to_have_text("9 B")
    expect(lab.card.locator(".said")).to_have_text("9 bytes: bytes \u20ac")
    lab.choose("AsyncJsonWebsocketConsumer")
    expect(lab.pill).to_have_text(re.compile("^Closed 1000"))
    lab.connect()
    lab.send("bytes", binary=True)
    expect(lab.part("hint")).to_have_text(re.compile(r"^Refused: .+ \(data_invalid\)$"))
    expect(lab.message).to_have_value("bytes")  # what was refused is given back


@pytest.mark.parametrize(("example", "variant"), [each for each in VARIANTS if each.id.split("-")[0] not in UNECHOED])
def test_html_in_a_message_is_text_on_every_card(example: Example, variant: Variant, lab: Lab) -> None:
    """What was sent and what came back is shown as it was typed; no element is made of it, and nothing runs."""
    lab.open(example.slug)
    if len(example.variants) > 1:
        lab.choose(variant.label)
    lab.connect()
    lab.send(json.dumps({"msg": HTML}) if example.slug == "json" else HTML)
    expect(lab.card.locator(".view").get_by_text("<b>html</b>").first).to_be_visible()
    lab.card.locator(".row-received .row-line").filter(has_text="<b>html</b>").last.click()
    expect(lab.card.locator(".row-json")).to_contain_text("<b>html</b>")
    expect(lab.card.locator(".view :is(img, script), .rows :is(img, script, b)")).to_have_count(0)
    assert lab.page.evaluate("window.stolen") is None


def test_malformed_json_is_answered_and_the_socket_lives(lab: Lab) -> None:
    """The error frame has a code and says where; the next message is answered."""
    lab.open("json").connect()
    lab.card.get_by_role("button", name='{"msg": "no end"').click()
    lab.message.press("Enter")
    expect(lab.card.locator(".said")).to_have_text(re.compile(r"^json_malformed: .+char 16\)$"))
    lab.send('{"msg": "again"}')
    expect(lab.card.locator(".said")).to_have_text('msg is "again", 5 characters')
    lab.expect_open()


def test_reconnect_comes_back_with_back_off(lab: Lab) -> None:
    """Off by default; switched on, a loss is followed by a wait and a new socket; 1000 stays closed."""
    lab.page.add_init_script("Math.random = () => 0.9")
    lab.open("consumers").connect()
    expect(lab.part("reconnects")).not_to_be_checked()
    lab.part("reconnects").check()
    lab.close(4002)
    expect(lab.pill).to_have_text(re.compile(r"^Reconnecting in \d s \(try 1\)$"))
    expect(lab.events("wait")).to_have_text("0.9 s, then try 1")
    lab.expect_open()
    lab.close(4002)
    expect(lab.events("wait")).to_have_text(["0.9 s, then try 1", "1.8 s, then try 2"])  # it had not been open long
    lab.card.get_by_role("button", name="Stop trying").click()
    expect(lab.pill).to_have_text("Closed 4002: bye")
    lab.connect()
    lab.close(1000)
    expect(lab.pill).to_have_text("Closed 1000: bye")
    expect(lab.part("connect")).to_have_text("Reconnect")
    expect(lab.events("wait")).to_have_count(2)


def test_close_says_what_a_browser_refuses(lab: Lab) -> None:
    """Codes below 3000 but 1000 are not a page's to send; a reason has 123 bytes."""
    lab.open("consumers").connect()
    lab.close(1001)
    expect(lab.part("close-help")).to_have_text("A page may close with 1000, or with a code from 3000 to 4999.")
    expect(lab.part("close-code")).to_be_focused()
    lab.close(4000, "\u20ac" * 42)
    expect(lab.part("close-help")).to_have_text("A reason has at most 123 bytes, not 126.")
    lab.expect_open()


def test_handshake_by_curl_works_as_pasted(lab: Lab) -> None:
    """The line of the empty card shows the handshake, for a path with a name in it, too."""
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    for slug in ("consumers", "room"):
        line = lab.open(slug).part("curl").inner_text().replace("--max-time 3", "--max-time 1")
        done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=60, check=False)
        assert done.stdout.startswith(b"HTTP/1.1 101 Switching Protocols"), done.stderr


def test_only_the_open_lesson_is_connected(lab: Lab) -> None:
    """Going to another lesson closes the socket; what it showed is still there on the way back."""
    lab.open("group").connect()
    lab.send("still here")
    expect(lab.card.locator(".chat")).to_contain_text("still here")
    lab.go_to("Room")
    expect(lab.card).to_be_hidden()
    expect(lab.page.locator("#room")).to_be_visible()
    lab.go_to("Group")
    expect(lab.card.locator(".chat")).to_contain_text("still here")
    expect(lab.pill).to_have_text("Closed 1000: you went to another lesson")


def test_who_am_i_knows_who_signed_in(open_context: NewContext, signed_in: StorageState, product: Product) -> None:
    """A visitor is told to sign in and comes back to the card; who is signed in writes, and visitors read it."""
    visitor = Lab(open_context().new_page()).open("who-am-i").connect()
    expect(visitor.card.locator(".who-is")).to_have_text("nobody: an anonymous user")
    visitor.send("hello")
    expect(visitor.card.locator(".said")).to_contain_text("sign in")

    admin = product.dev["admin"]
    user = Lab(open_context(storage_state=signed_in).new_page()).open("who-am-i").connect()
    expect(user.card.locator(".who-is")).to_have_text(admin["username"])
    user.send(HTML)
    expect(visitor.card.locator(".said")).to_have_text(f"{admin['username']} wrote: {HTML}")
    assert visitor.page.evaluate("window.stolen") is None

    visitor.card.get_by_role("link", name="Sign in").click()
    Console(visitor.page).sign_in(admin["username"], admin["password"])
    visitor.page.wait_for_url("**/lab/#who-am-i")
    expect(visitor.card.get_by_role("link", name="Sign in")).to_have_count(0)
    visitor.connect()
    expect(visitor.card.locator(".who-is")).to_have_text(admin["username"])


def test_subprotocol_is_chosen_and_refused(lab: Lab, product: Product, seen: Seen) -> None:
    """The newest that was offered; the scope without its cookies' values; both ways to be refused."""
    lab.page.context.add_cookies([{"name": "secret", "value": "s3cret", "url": product.url}])
    lab.open("subprotocol")
    lab.card.get_by_label("lab.v2").uncheck()
    lab.connect()
    expect(lab.card.locator(".chosen")).to_have_text("lab.v1")
    scope = json.loads(lab.card.locator(".scope").inner_text())
    assert scope["path"] == "/ws/lab/subprotocol/"
    assert scope["cookies"] == {"secret": "[blanked]"}
    assert "s3cret" not in lab.page.content()

    lab.card.get_by_label("after accept, with 4123").check()
    lab.close(1000)
    lab.part("connect").click()
    expect(lab.pill).to_have_text(re.compile("^Closed 4123: "))
    expect(lab.card.locator(".chosen")).to_have_text("refused with 4123")

    lab.card.get_by_label("at the handshake, with 403").check()
    lab.part("connect").click()
    expect(lab.pill).to_have_text(re.compile("^Closed 1006: "))
    expect(lab.events("onerror")).to_have_count(1)
    seen.errors = [error for error in seen.errors if "403" not in error]  # the browser's own line about the refusal


def test_direct_reaches_one_consumer(new_lab: NewLab) -> None:
    """By its channel_name; and the three faults are caught and shown."""
    one = new_lab().open("direct").connect()
    other = new_lab().open("direct").connect()
    expect(other.card.locator(".channel-name")).to_have_text(re.compile(r"^\S+![0-9a-f]+$|^\S{20,}$"))
    one.card.get_by_label("Send to").fill(other.card.locator(".channel-name").inner_text())
    one.send("for you alone")
    expect(other.card.locator(".said")).to_have_text(re.compile("^Received from .+: for you alone$"))
    expect(one.card.locator(".said")).to_have_text(re.compile("^Sent to "))
    for button, said in {
        "Show MessageTooLarge": "Caught MessageTooLarge",
        "Show ChannelFull": "Caught ChannelFull",
        "Show a dead member": "ClarionChannelLayer: no, InMemoryChannelLayer: yes",
    }.items():
        one.card.get_by_role("button", name=button).click()
        expect(one.card.locator(".said")).to_contain_text(said)


def test_worker_reports_progress_and_the_consumer_answers(lab: Lab) -> None:
    """The bar fills to its end; http-api's question comes to this socket, and its answer back to the page."""
    lab.open("worker").connect()
    lab.card.get_by_role("button", name="Start a task").click()
    bar = lab.card.get_by_role("progressbar")
    expect(bar).to_have_js_property("value", 20)
    expect(lab.card.locator(".said")).to_have_text(re.compile(r"^notifier\S* did 20 of 20 steps$"))
    lab.card.get_by_role("button", name="Ask through http-api").click()
    expect(lab.card.locator(".asked")).to_have_text(
        re.compile(r"^http-api says: this socket has been open for .+ \(from gateway-\d\)$")
    )
    expect(lab.received.filter(has_text="question")).to_have_count(1)
