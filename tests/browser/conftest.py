"""Fixtures of the browser tests: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.modules import RunModule, module_runner

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium a module: Playwright's synchronous interface must not outlive it into tests that use asyncio."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def run_module(browser: Browser) -> Iterator[RunModule]:
    """Run code beside one of the console's modules (or ``fakes``), without a server."""
    page = browser.new_page(locale="en-GB", timezone_id="UTC")
    yield module_runner(page)
    page.close()
