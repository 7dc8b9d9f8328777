"""README.md, "The first five minutes": its commands and its eight lines of JavaScript, as a reader pastes them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, ConsoleMessage

from tests.support.product import ROOT, Product
from tests.support.sdk import SDKS, missing

BLOCK: Final = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DEADLINE_S: Final = 60
RECEIVED: Final = [
    {"text": "hello from the browser"},
    {"text": "hello from curl"},
    {"text": "hello from the SDK"},
    {"type": "chat.message", "message": "hi"},
    {"order": 7, "state": "new"},
    {"order": 7, "state": "paid"},
]


def shell_blocks() -> list[str]:
    """The section's blocks for a terminal."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## The first five minutes\n")[2]
    return BLOCK.findall(section.partition("\n## ")[0])


def npm_write(folder: Path) -> None:
    """Put an ``npm`` into a folder that installs without a network: the packages that the SDKs' tests use."""
    modules = SDKS / "js" / "node_modules"
    npm = folder / "npm"
    check = '[ "$1 $2 $3" = "install --silent --prefix" ]'
    npm.write_text(f'#!/bin/sh -e\n{check}\nln -sfn "{modules}" "$4/node_modules"\n')
    npm.chmod(0o700)


def paste(folder: Path, *blocks: str) -> str:
    """Run blocks one after the other in one shell, in a folder that looks like the reader's; return what they print."""
    done = subprocess.run(
        ["sh", "-e", "-c", "\n".join(blocks)],
        cwd=folder,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_first_five_minutes_work_as_pasted(browser: Browser, product: Product, tmp_path: Path) -> None:
    """The lines join the room, and everything that the commands send arrives there, in order."""
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    if reason := missing("js"):
        pytest.skip(reason)
    (tmp_path / ".run").symlink_to(product.run_dir)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    npm_write(tmp_path)
    join, *sends = shell_blocks()
    lines = paste(tmp_path, join)
    assert len(lines.splitlines()) == 8

    received: list[Any] = []

    def hear(message: ConsoleMessage) -> None:
        if message.text.startswith("received"):
            received.append(message.args[1].json_value())

    page = browser.new_page()
    page.on("console", hear)
    page.goto(product.url)
    with page.expect_console_message(lambda message: "hello from the browser" in message.text):
        # As the developer tools do: constants of one paste must not meet those of the next.
        page.context.new_cdp_session(page).send("Runtime.evaluate", {"expression": lines, "replMode": True})
    with page.expect_console_message(lambda message: "paid" in message.text, timeout=DEADLINE_S * 1000):
        notified = paste(tmp_path, join, *sends)
    page.close()

    assert [value for value in received if "hello" not in value] == RECEIVED
    assert re.search(r"^offset \d+ \{ text: 'hello from the SDK' \}$", notified, re.MULTILINE)
    assert re.search(r'"users":\s*1\b', notified)
