"""`make test`: what it is asked for is understood before anything runs."""

from __future__ import annotations

import os
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
    assert done.stderr == f"no such group or file: {word}; groups are unit, integration, e2e, browser, containers\n"


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


@pytest.mark.parametrize(
    ("groups", "paths", "wanted"),
    [
        ([], [], False),
        (["unit"], [], False),
        (["containers"], [], True),
        ([], ["tests/containers/test_images.py"], True),
    ],
)
def test_run_leaves_out_what_needs_an_engine(groups: list[str], paths: list[str], wanted: bool) -> None:
    """The containers' tests run only if they are named: `make test` needs no Docker engine."""
    part = next(part for part in run.PARTS if part.group == "containers")
    assert run._is_wanted(part, groups, paths) is wanted


def test_test_containers_says_that_it_was_skipped(tmp_path: Path) -> None:
    """Where no engine answers, `make test-containers` says so in one line and is content."""
    done = subprocess.run(
        [str(ROOT / "deploy" / "scripts" / "test_containers.sh")],
        env={"PATH": os.environ["PATH"], "DOCKER_HOST": f"unix://{tmp_path}/none.sock"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "test-containers: skipped: no Docker engine answers\n"
