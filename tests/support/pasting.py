"""What a reader does with a page: paste its blocks into one shell, and compare what comes with what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_FENCED: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK: Final = "--- end of a block ---"


@dataclass(frozen=True)
class Block:
    """A fenced block, and the ``text`` block behind it: what it prints, with ``…`` for whatever differs each time."""

    text: str
    shown: str = ""


def blocks_of(page: str, language: str) -> list[Block]:
    """The page's blocks of one language."""
    found: list[Block] = []
    last = ""
    for kind, text in _FENCED.findall(page):
        if kind == language:
            found.append(Block(text))
        elif kind == "text" and last == language:
            found[-1] = Block(found[-1].text, text)
        last = kind
    return found


def paste(folder: Path, blocks: Sequence[str], env: Mapping[str, str], *, deadline_s: float) -> list[str]:
    """Run blocks one after the other in one shell, in ``folder``; return what each printed.

    The first command that fails ends it: then this raises with what was printed so far.
    """
    done = subprocess.run(
        ["sh", "-e", "-c", "\n".join(f"{block}\necho\necho '{_MARK}'" for block in blocks)],
        cwd=folder,
        env={**os.environ, "NO_PROXY": "127.0.0.1", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=deadline_s,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"
    return [part.strip("\n") for part in done.stdout.split(_MARK)[:-1]]


def output_check(block: Block, output: str) -> None:
    """Fail unless a block printed what the page shows."""
    if block.shown:
        wanted = re.escape(block.shown.strip("\n")).replace("…", ".*?")
        assert re.fullmatch(wanted, output, re.DOTALL), f"{block.text}\nprinted:\n{output}\n\nnot:\n{block.shown}"
