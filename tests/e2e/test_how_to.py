"""The how-tos with commands for a terminal, pasted one block after the other beside a running product."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.support.pasting import ROOT, blocks_of, output_check, paste
from tests.support.product import Product
from tests.support.sdk import SDKS, missing

DEADLINE_S: Final = 90


@pytest.mark.parametrize("name", ["recover-with-an-sdk", "configure-channels"])
def test_how_to_works_as_pasted(product: Product, tmp_path: Path, name: str) -> None:
    """Every block works, and what the page shows below it is what comes."""
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    if reason := missing("js"):
        pytest.skip(reason)
    (tmp_path / ".run").mkdir()
    (tmp_path / ".run" / "dev.json").symlink_to(product.run_dir / "dev.json")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    # What npm would install, without a network.
    (tmp_path / ".run" / "sdk").mkdir()
    (tmp_path / ".run" / "sdk" / "node_modules").symlink_to(SDKS / "js" / "node_modules")
    blocks = blocks_of((ROOT / "docs" / "how-to" / f"{name}.md").read_text(encoding="utf-8"), "sh")
    outputs = paste(tmp_path, ["npm() { :; }", *(block.text for block in blocks)], {}, deadline_s=DEADLINE_S)[1:]
    for block, output in zip(blocks, outputs, strict=True):
        output_check(block, output)
