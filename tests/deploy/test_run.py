"""`make test`: what it is asked for is understood before anything runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import run

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["unti"], "unti"),
        (["tests/nowhere.py"], "tests/nowhere.py"),
        (["unit", "-x", "unti"], "unti"),
        (["docs"], "docs"),  # it exists, and has no tests
    ],
)
def test_run_refuses_a_word_it_does_not_know(arguments: list[str], word: str) -> None:
    """A mistyped group or file is named with the groups there are, exit code 2, and no test runs."""
    done = subprocess.run(
        [sys.executable, "tests/run.py", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"no such group or file: {word}; groups are unit, integration, e2e, browser\n"


@pytest.mark.parametrize(
    ("arguments", "groups", "paths", "options"),
    [
        (["unit", "-k", "names"], ["unit"], [], ["-k", "names"]),
        (["-k", "unit"], [], [], ["-k", "unit"]),
        (["-x", "e2e", "--maxfail", "3"], ["e2e"], [], ["-x", "--maxfail", "3"]),
        (["tests/deploy/test_run.py::test_x", "--tb=short"], [], ["tests/deploy/test_run.py::test_x"], ["--tb=short"]),
    ],
)
def test_run_tells_groups_paths_and_options_apart(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], groups: list[str], paths: list[str], options: list[str]
) -> None:
    """An option's value is no group, though it may read like one."""
    monkeypatch.chdir(ROOT)
    assert run._split(arguments) == (groups, paths, options)
