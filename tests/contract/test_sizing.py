"""docs/runbooks/sizing.md: every figure of a benchmark stands in the row of `make bench` that is named behind it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
RESULTS: Final = sorted((ROOT / "tests" / "load" / "results").glob("*.md"), reverse=True)
"""The newest first."""
PAGE: Final = (ROOT / "docs" / "runbooks" / "sizing.md").read_text()
COLUMNS: Final = ("part", "figure", "measured", "the manifests take")

_NUMBER: Final = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


def newest(row: str) -> tuple[str, set[str]]:
    """The newest page of results that has a row: its name, and every number of ours there."""
    for page in RESULTS:
        text = page.read_text()
        if found := re.search(rf"^- `{row}` \((.+?)\): ", text, re.MULTILINE):
            table = re.search(rf"^\| {re.escape(found[1])}[ :].*\n(?:\|.*\n)+", text, re.MULTILINE)
            assert table, f"{page.name} has no table of {row}"
            heading, _, *subjects = table[0].splitlines()
            ours = [subject for subject in subjects if subject.startswith(("| Clarion gateway", "| http-api"))]
            return page.name, set(_NUMBER.findall(" ".join([heading, *ours])))
    raise AssertionError(f"no page of results has a row {row}")


def lines() -> list[tuple[list[str], set[str]]]:
    """Of each figure that names rows: the rows, and its numbers."""
    found = []
    for line in PAGE.splitlines():
        cells = re.split(r"\s*\|\s*", line)[1:-1]
        if len(cells) == len(COLUMNS) and (rows := re.findall(r"`([a-z0-9-]+)`", cells[2])):
            found.append((rows, set(_NUMBER.findall(cells[2].partition(" (`")[0]))))
    return found


@pytest.mark.parametrize(("rows", "numbers"), lines())
def test_figures_are_the_newest(rows: list[str], numbers: set[str]) -> None:
    """Nothing is rounded, nothing is left of an older run, and the page leads to the run."""
    pages, measured = zip(*map(newest, rows), strict=True)
    assert numbers - set.union(*measured) == set()
    assert [page for page in pages if f"](../../tests/load/results/{page})" not in PAGE] == []


def test_page_names_its_rows() -> None:
    """In the column that is read here, and most of it was measured."""
    assert f"| {' | '.join(COLUMNS)} |" in PAGE
    assert len(lines()) >= 12
