"""docs/tutorial/channels.md: its commands, pasted one after the other beside a running product, print what it shows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.pasting import ROOT, blocks_of, output_check, paste
from tests.support.product import Product, product

TUTORIAL: Final = ROOT / "docs" / "tutorial" / "channels.md"
OWN: Final = "\n## Into your own project\n"
"""The rest needs no product: tests/contract/test_tutorial.py."""
DEADLINE_S: Final = 240


@pytest.fixture
def up() -> Iterator[Product]:
    """A product of its own: the commands stop a gateway, sign in, and leave files in its folder."""
    with product(env={"CLARION_LAB": "true"}) as made:
        yield made


@pytest.mark.timeout(400)
def test_tutorial_works_as_pasted(up: Product, tmp_path: Path) -> None:
    """Every block for a terminal works, in order, in one shell, and what the page shows below it is what comes."""
    for program in ("curl", "openssl"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    (tmp_path / ".run").symlink_to(up.run_dir)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    blocks = blocks_of(TUTORIAL.read_text(encoding="utf-8").partition(OWN)[0], "sh")
    outputs = paste(tmp_path, [block.text for block in blocks], {}, deadline_s=DEADLINE_S)
    for block, output in zip(blocks, outputs, strict=True):
        output_check(block, output)
