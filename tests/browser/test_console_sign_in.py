"""Signing in, and what the page says to who is not."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.browser.console_page import Console, NewConsole, Seen, context_open
from tests.support.product import Product


def test_sign_in_wrong_password_is_said(signed_out_console: Console, product: Product, seen: Seen) -> None:
    """The name stays in the form, the password does not, and the reason stands beside the fields."""
    console = signed_out_console
    console.page.goto("/")
    console.sign_in(product.dev["admin"]["username"], "not the password")
    expect(console.page.get_by_role("alert")).to_be_visible()
    expect(console.page.get_by_label("User name")).to_have_value(product.dev["admin"]["username"])
    expect(console.page.get_by_label("Password")).to_have_value("")
    expect(console.page.get_by_label("Password")).to_be_focused()
    assert product.dev["admin"]["password"] not in console.page.content()
    assert len(seen.errors) == 1
    assert "401" in seen.errors.pop()  # the browser notes the status of the page itself


def test_signed_out_page_says_where_the_password_is(signed_out_console: Console) -> None:
    """In development the page names the file that holds the administrator's password."""
    signed_out_console.page.goto("/")
    expect(signed_out_console.page.get_by_text(".run/dev.json")).to_be_visible()


def test_page_at_localhost_joins_too(browser: Browser, product: Product) -> None:
    """Who types ``localhost`` where the product says 127.0.0.1 signs in, joins, and no policy stands in the way."""
    seen = Seen(product.url.replace("127.0.0.1", "localhost"))
    context = context_open(browser, seen.origin)
    try:
        console = Console(context.new_page())
        seen.watch(console.page)
        console.page.goto("/?channel=chat:localhost")
        console.sign_in(product.dev["admin"]["username"], product.dev["admin"]["password"])
        console.expect_open()
        console.send("here")
        console.expect_received('"here"')
    finally:
        context.close()
    assert (seen.errors, seen.foreign) == ([], [])


def test_deep_link_survives_signing_in(signed_out_console: Console, product: Product) -> None:
    """Who follows a link to a channel signs in first and is then in that channel."""
    console = signed_out_console
    console.page.goto("/?channel=chat:linked")
    console.sign_in(product.dev["admin"]["username"], product.dev["admin"]["password"])
    console.expect_open()
    expect(console.channel).to_have_value("chat:linked")
    expect(console.page).to_have_title("chat:linked · Clarion")


def test_ended_session_says_so_and_leads_back(signed_out_console: Console, product: Product) -> None:
    """A page whose session ended elsewhere closes with 4401, keeps its rows, and after a new sign-in joins again."""
    console = signed_out_console
    console.page.goto("/?channel=chat:ended")
    console.sign_in(product.dev["admin"]["username"], product.dev["admin"]["password"])
    console.expect_open()
    console.send("kept")
    console.expect_received('"kept"')
    other = console.page.context.new_page()
    other.goto("/")
    other.get_by_role("button", name="Sign out").click()
    expect(other.get_by_role("button", name="Sign in")).to_be_visible()

    console.page.get_by_role("button", name="Stop").click()
    console.page.get_by_role("button", name="Reconnect").click()
    console.expect_pill("Closed 4401: not signed in")
    expect(console.notice).to_contain_text("You are not signed in any more.")
    console.expect_received('"kept"')
    console.notice.get_by_role("link", name="Sign in").click()
    console.sign_in(product.dev["admin"]["username"], product.dev["admin"]["password"])
    console.expect_open()
    expect(console.channel).to_have_value("chat:ended")


def test_sign_out_leads_to_the_signed_out_page(
    new_console: NewConsole, signed_out_console: Console, product: Product
) -> None:
    """Sign out ends the session and shows what to do next."""
    console = signed_out_console
    console.page.goto("/")
    console.sign_in(product.dev["admin"]["username"], product.dev["admin"]["password"])
    console.page.get_by_role("button", name="Sign out").click()
    expect(console.page.get_by_role("heading", name="Watch messages move")).to_be_visible()


def test_error_page_looks_like_the_product(console: Console, seen: Seen) -> None:
    """An address that does not exist is answered in the product's own look, with the way back."""
    console.page.goto("/nothing-here")
    expect(console.page.get_by_role("link", name="Go to the console")).to_be_visible()
    expect(console.page.get_by_text("Error 404")).to_be_visible()
    assert "404" in seen.errors.pop()
