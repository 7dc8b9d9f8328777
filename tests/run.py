"""Run the tests of the whole workspace, group by group: ``python tests/run.py [group or path ...] [pytest options]``.

Each package's tests run in a pytest of their own, because Django's settings differ. A line says how each went; what
failed is shown in full; what was printed and JUnit files are kept in ``tests/artefacts/``. The last line is alone
``N passed, N failed, N skipped``; the exit code is 0 only if nothing failed and each part had tests.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final
from xml.etree import ElementTree as ET

import psutil

ROOT: Final = Path(__file__).resolve().parents[1]
ARTEFACTS: Final = ROOT / "tests" / "artefacts"
TOTAL_S: Final = 50 * 60
"""For all parts together: CI has an hour for this and the checks."""

_BEAT_S: Final = 30
_STOP_S: Final = 90  # fixtures end the product, which may drain for some time
_LEFT_S: Final = 5
_NOTHING_COLLECTED: Final = 5
_DONE: Final = re.compile(r"^(\S+::.+?) (?:PASSED|FAILED|SKIPPED|ERROR|XFAIL|XPASS)\b", re.MULTILINE)

_FLAGS: Final = re.compile(
    r"-[xvqsl]+|-[kmnporWc]\S+|--(?:lf|ff|nf|sw|pdb|co|last-failed|failed-first|exitfirst|stepwise)"
)
"""pytest options after which a word is no value."""
_FAILURES: Final = re.compile(r"^=+ (?:ERRORS|FAILURES) =+$", re.MULTILINE)


@dataclass(frozen=True)
class Part:
    """The tests of one package in one group."""

    group: str
    package: str
    folder: str
    settings: str = ""
    limit_s: int = 300

    @property
    def name(self) -> str:
        """E.g. ``unit libs/clarion``."""
        return f"{self.group} {self.package if self.package != '.' else self.folder}"


_PACKAGES: Final = {
    "libs/clarion": "tests.settings",
    "services/http-api": "http_api.settings.test",
    "services/ws-gateway": "ws_gateway.settings.test",
    "services/notifier": "notifier.settings.test",
}
PARTS: Final = [
    *(Part("unit", package, "tests/unit", settings) for package, settings in _PACKAGES.items()),
    Part("unit", ".", "tests/deploy"),
    Part("unit", ".", "k8s/tests"),
    *(Part("integration", package, "tests/integration", settings, 900) for package, settings in _PACKAGES.items()),
    Part("integration", ".", "tests/contract", limit_s=600),
    Part("e2e", ".", "tests/e2e", limit_s=1500),
    Part("e2e", ".", "tests/load", limit_s=180),  # the load generator alone; `make bench` is no test
    Part("browser", ".", "tests/browser", limit_s=1200),
    Part("containers", ".", "tests/containers", limit_s=1200),
]
GROUPS: Final = list(dict.fromkeys(part.group for part in PARTS))
ON_REQUEST: Final = {"containers"}
"""Groups that run only if they are named: they need an engine (`make test-containers`)."""


@dataclass
class Counts:
    """What became of the tests."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    skips: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        """Sum up."""
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.skips += other.skips

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


class Interrupted(Exception):
    """A signal asked for the end."""


class Runner:
    """Runs one pytest after the other, and leaves no process behind."""

    def __init__(self, options: Sequence[str]) -> None:
        self._options = list(options)
        self._end = time.monotonic() + TOTAL_S
        self._is_stopping = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        if sys.platform == "linux":
            # Orphans of the tests become children of this process, where they are found whatever they did.
            ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True

    def run(self, part: Part, targets: Sequence[str]) -> Counts:
        """Run one part and say how it went.

        Raises:
            Interrupted: after the part's processes have ended.
        """
        began = time.monotonic()
        stem = re.sub(r"\W+", "-", part.name)
        log, xml = ARTEFACTS / f"{stem}.log", ARTEFACTS / f"{stem}.xml"
        for old in (log, xml):
            old.unlink(missing_ok=True)
        code, problem = self._pytest(part, targets, log, xml)
        counts = _counts(xml)
        if left := self._end_left():
            problem = problem or f"left processes behind: {left}"
        if code == _NOTHING_COLLECTED and not self._options:
            problem = problem or "no tests were found"
        if code not in (0, 1, _NOTHING_COLLECTED):
            problem = problem or f"pytest ended with code {code}"
        if problem or (code == 1 and not counts.failed):
            counts.failed += 1
        _tell(part, counts, problem, time.monotonic() - began, log)
        if self._is_stopping:
            raise Interrupted
        return counts

    def _pytest(self, part: Part, targets: Sequence[str], log: Path, xml: Path) -> tuple[int, str]:
        """Return pytest's exit code, and what went wrong beside it."""
        if not (ROOT / part.package / part.folder).is_dir():
            log.write_text("")
            return _NOTHING_COLLECTED, f"there is no folder {part.package}/{part.folder}"
        command = [sys.executable, "-m", "pytest", *targets, "-v", "--color=no", f"--junitxml={xml}", *self._options]
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT / part.package,
                env=_environment(part),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches this process alone, which passes it on once
            )
        limit = min(time.monotonic() + part.limit_s, self._end)
        try:
            return self._wait(process, part, log, limit)
        finally:
            if process.poll() is None:
                _stop(process)

    def _wait(self, process: subprocess.Popen[bytes], part: Part, log: Path, limit: float) -> tuple[int, str]:
        began = beat = time.monotonic()
        while process.poll() is None:
            now = time.monotonic()
            if self._is_stopping or now > limit:
                return 1, "interrupted" if self._is_stopping else f"not done within {now - began:.0f} s"
            if now - beat > _BEAT_S:
                beat = now
                done = _DONE.findall(_text(log))
                print(f"tests: {part.name} ... {now - began:.0f} s, {len(done)} done", flush=True)
            _reap_orphans(process.pid)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
        return process.returncode, ""

    def _end_left(self) -> str:
        """End what the tests left running, after a moment for what is ending by itself; return its names."""
        end = time.monotonic() + _LEFT_S
        while left := _living_children():
            if time.monotonic() > end:
                names = ", ".join(f"{_name(process)} ({process.pid})" for process in left)
                for process in left:
                    with contextlib.suppress(psutil.Error):
                        process.kill()
                psutil.wait_procs(left, timeout=_LEFT_S)
                _living_children()
                return names
            time.sleep(0.1)
        return ""


def _environment(part: Part) -> dict[str, str]:
    """The caller's environment without what would steer the product: tests start from nothing."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not (name.startswith("CLARION_") and not name.startswith("CLARION_TEST_"))
        and name not in ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "PYTEST_ADDOPTS")
    }
    if part.settings:
        kept["DJANGO_SETTINGS_MODULE"] = part.settings
    return kept


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let pytest end its fixtures as on Ctrl-C; kill it if that takes too long."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _reap_orphans(pytest_pid: int) -> None:
    """Bury the orphans that came to this process, as init would: tests wait until a process is gone."""
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == pytest_pid:  # subprocess asks for that one itself
                return
            os.waitpid(ended.si_pid, 0)


def _living_children() -> list[psutil.Process]:
    living = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error, ChildProcessError):
            if process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)
            else:
                living.append(process)
    return living


def _name(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()[:6]) or process.name()
    except psutil.Error:
        return "?"


def _counts(xml: Path) -> Counts:
    """Count the tests of a JUnit file; one that is missing or broken counts nothing."""
    counts = Counts()
    try:
        cases = ET.parse(xml).getroot().iter("testcase")  # our own file
    except (OSError, ET.ParseError):
        return counts
    for case in cases:
        if case.find("failure") is not None or case.find("error") is not None:
            counts.failed += 1
        elif (skipped := case.find("skipped")) is not None:
            counts.skipped += 1
            counts.skips.append(f"{case.get('classname')}::{case.get('name')}: {skipped.get('message')}")
        else:
            counts.passed += 1
    return counts


def _text(log: Path) -> str:
    try:
        return log.read_text(errors="replace")
    except FileNotFoundError:  # another run in this folder began
        return ""


def _tell(part: Part, counts: Counts, problem: str, seconds: float, log: Path) -> None:
    is_bad = bool(problem) or counts.failed > 0
    print(f"tests: {part.name:<34} {counts} in {seconds:.0f} s{f' - {problem}' if problem else ''}", flush=True)
    if is_bad:
        print(f"----- {log.relative_to(ROOT)}\n{_what_failed(_text(log))}\n-----", flush=True)


def _what_failed(text: str) -> str:
    """Leave out the list of tests that passed; all of it if pytest did not come to tell what failed."""
    start = _FAILURES.search(text)
    return (text[start.start() :] if start else text).rstrip()


class Unknown(Exception):
    """A word is neither a group nor a file of tests; the text says so."""


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return the groups, the paths and the pytest options that were asked for.

    Raises:
        Unknown: a word that is no option's value is neither a group nor a path with tests.
    """
    groups, paths, options = [], [], []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if argument.startswith("-") or _takes_value(before):
            options.append(argument)
        elif argument in GROUPS:
            groups.append(argument)
        elif _file_of(argument).exists() and any(_targets(part, [argument]) for part in PARTS):
            paths.append(argument)
        else:
            raise Unknown(f"no such group or file: {argument}; groups are {', '.join(GROUPS)}")
    return groups, paths, options


def _takes_value(option: str) -> bool:
    """Whether the next word belongs to a pytest option; one that is not known here may take one."""
    return option.startswith("-") and "=" not in option and not _FLAGS.fullmatch(option)


def _file_of(argument: str) -> Path:
    return Path(argument.partition("::")[0]).absolute()


def _targets(part: Part, paths: Sequence[str]) -> list[str]:
    """The asked-for paths that are in a part; everything if none was asked for."""
    folder = ROOT / part.package / part.folder
    if not paths:
        return [part.folder]
    return [f"{_file_of(path)}{path[len(path.partition('::')[0]) :]}" for path in paths if _is_in(path, folder)]


def _is_wanted(part: Part, groups: Sequence[str], paths: Sequence[str]) -> bool:
    if groups:
        return part.group in groups
    return bool(paths) or part.group not in ON_REQUEST


def _is_in(path: str, folder: Path) -> bool:
    return _file_of(path).is_relative_to(folder)


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for and return the exit code."""
    try:
        groups, paths, options = _split(arguments)
    except Unknown as exc:
        print(exc, file=sys.stderr)
        return 2
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    runner, total, failed = Runner(options), Counts(), []
    is_interrupted = False
    for part in PARTS:
        if not _is_wanted(part, groups, paths) or not (targets := _targets(part, paths)):
            continue
        try:
            counts = runner.run(part, targets)
        except Interrupted:
            is_interrupted = True
            break
        total.add(counts)
        if counts.failed:
            failed.append(part.name)
    for skip in total.skips:
        print(f"skipped: {skip}")
    print(f"tests: all in {time.monotonic() - began:.0f} s" + (f"; failed: {', '.join(failed)}" if failed else ""))
    if is_interrupted:
        print("tests: interrupted")
    print(total, flush=True)
    return 130 if is_interrupted else int(bool(total.failed or not total.passed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
