"""Fixtures of the browser tests: Debian's Chromium, driven by Playwright, against the whole product."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, StorageState, expect, sync_playwright

from clarion.publisher import Publisher
from tests.browser.console_page import DEADLINE_MS, Console, KeepPicture, NewConsole, NewContext, Seen, context_open
from tests.browser.lab_page import Lab, NewLab
from tests.browser.modules import RunModule, module_runner
from tests.support.product import Product
from tests.support.product import product as product_run

CHROMIUM: Final = os.environ.get("CLARION_TEST_CHROMIUM", "/usr/bin/chromium")
ARGUMENTS: Final = [
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ARTEFACTS: Final = Path(__file__).parents[1] / "artefacts" / "browser"

expect.set_options(timeout=DEADLINE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium a module: Playwright's synchronous interface must not outlive it into tests that use asyncio."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def run_module(browser: Browser) -> Iterator[RunModule]:
    """Run code beside one of the pages' modules (or ``fakes``), without a server."""
    page = browser.new_page(locale="en-GB", timezone_id="UTC")
    yield module_runner(page)
    page.close()


@pytest.fixture(scope="session")
def product() -> Iterator[Product]:
    """The product with two gateways, for all browser tests."""
    with product_run() as running:
        yield running


@pytest.fixture(scope="session")
def publisher(product: Product) -> Iterator[Publisher]:
    """Publishes straight into the channel layer: as fast as a flood needs it."""
    publisher = Publisher([product.dev["redis_url"]], prefix=product.dev["layer_prefix"])
    yield publisher
    publisher.close()


@pytest.fixture(scope="module")
def signed_in(browser: Browser, product: Product) -> StorageState:
    """The cookies of the administrator, signed in once: a password's hash is slow on purpose."""
    context = context_open(browser, product.url)
    console = Console(context.new_page())
    console.page.goto("/")
    console.sign_in(product.dev["admin"]["username"], product.dev["admin"]["password"])
    console.join_button.wait_for()
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def seen(product: Product) -> Iterator[Seen]:
    """What the browser reported; after the test, nothing bad may be left in it."""
    seen = Seen(product.url)
    yield seen
    assert seen.errors == []
    assert seen.foreign == []


@pytest.fixture
def open_context(browser: Browser, product: Product, seen: Seen) -> Iterator[NewContext]:
    """Make a watched browser profile; options are those of Playwright's ``new_context``."""
    contexts: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        contexts.append(context_open(browser, product.url, **options))
        contexts[-1].on("page", seen.watch)
        return contexts[-1]

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def signed_out_console(open_context: NewContext) -> Console:
    """A page of somebody who is not signed in; nothing is loaded yet."""
    return Console(open_context().new_page())


@pytest.fixture
def new_console(open_context: NewContext, signed_in: StorageState) -> NewConsole:
    """Make a page of the signed-in administrator; nothing is loaded yet."""

    def make(**options: Any) -> Console:
        return Console(open_context(storage_state=signed_in, **options).new_page())

    return make


@pytest.fixture
def console(new_console: NewConsole) -> Console:
    """A page of the signed-in administrator; nothing is loaded yet."""
    return new_console()


@pytest.fixture
def new_lab(open_context: NewContext) -> NewLab:
    """Make a page of somebody who is not signed in; nothing is loaded yet."""

    def make(**options: Any) -> Lab:
        return Lab(open_context(**options).new_page())

    return make


@pytest.fixture
def lab(new_lab: NewLab) -> Lab:
    """A page of somebody who is not signed in; nothing is loaded yet."""
    return new_lab()


@pytest.fixture(scope="session")
def keep_picture() -> KeepPicture:
    """Keep a screenshot under ``tests/artefacts/browser``, for people to look at."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)

    def keep(page: Page, name: str) -> None:
        page.screenshot(path=ARTEFACTS / f"{name}.png", animations="disabled")

    return keep
