"""The lines of `make up`: followed over rotation, rendered one per event, bounded, without secrets or control codes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deploy.dev import console as console_module
from deploy.dev.console import Console
from deploy.dev.tail import Tail


class Terminal(io.StringIO):
    """An output that says it is a terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


@pytest.fixture
def out() -> io.StringIO:
    """Collect what a person would see."""
    return io.StringIO()


@pytest.fixture
def console(tmp_path: Path, out: io.StringIO) -> Iterator[Console]:
    """Write to ``out`` and to a file."""
    with closing(Console(tmp_path / "clarion.log", out)) as made:
        yield made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a log file's path; the file is not there yet."""
    return tmp_path / "x.log"


def test_tail_begins_at_the_end_and_gives_whole_lines(path: Path) -> None:
    """What an earlier run wrote is not shown again; half a line waits for its other half."""
    path.write_text("old\n")
    with closing(Tail(path)) as tail, path.open("a") as file:
        file.write("one\ntw")
        file.flush()
        assert tail.lines() == ["one"]
        file.write("o\n")
        file.flush()
        assert tail.lines() == ["two"]
        assert tail.lines() == []


def test_tail_follows_a_rotated_file(path: Path) -> None:
    """A file that is moved away is read to its end, then the new one from its beginning."""
    with closing(Tail(path)) as tail:
        assert tail.lines() == []
        path.write_text("one\n")
        assert tail.lines() == ["one"]
        with path.open("a") as file:
            file.write("two\n")
        path.rename(path.with_suffix(".1"))
        path.write_text("three\n")
        assert [*tail.lines(), *tail.lines()] == ["two", "three"]


def test_tail_empties_a_file_that_nobody_rotates(path: Path) -> None:
    """Past its limit the file is cut to nothing, and a writer that appends goes on in it."""
    with closing(Tail(path, truncate_at_bytes=10)) as tail, path.open("a") as file:
        file.write("a line that is long\n")
        file.flush()
        assert tail.lines() == ["a line that is long"]
        assert tail.lines() == []
        assert path.stat().st_size == 0
        file.write("next\n")
        file.flush()
        assert tail.lines() == ["next"]


def test_console_renders_a_json_event_as_one_line(console: Console, out: io.StringIO) -> None:
    """Time, service, level, event, then the keys; a traceback is its innermost frame."""
    frames = [{"filename": "a.py", "lineno": 1}, {"filename": "b.py", "lineno": 7}]
    event = {
        "event": "connection.closed",
        "level": "warning",
        "logger": "x",
        "timestamp": "2026-01-02T03:04:05.678901Z",
        "close_code": 3008,
        "reason": "two words",
        "exception": [{"exc_type": "ValueError", "exc_value": "no", "frames": frames}],
    }
    console.event("gateway-1", json.dumps(event))
    (line,) = out.getvalue().splitlines()
    assert line[8:].startswith(".678 gateway-1  warning  connection.closed close_code=3008 ")
    assert line.endswith('reason="two words" exception="ValueError: no (b.py:7)"')


@pytest.mark.parametrize(
    ("service", "line", "shown"),
    [
        (
            "redis",
            "77:M 20 Nov 2026 19:02:47.589 * Ready to accept connections",
            "info     Ready to accept connections",
        ),
        ("redis", "77:M 20 Nov 2026 19:02:47.589 # Can't save: no space", "warning  Can't save: no space"),
        (
            "supervisor",
            "2026-11-20 19:02:47,586 WARN exited: nginx (by SIGKILL)",
            "warning  exited: nginx (by SIGKILL)",
        ),
        ("nginx", "a plain line", "info     a plain line"),
        ("http-api", '{"half": ', 'info     {"half":'),
        ("http-api", "clear\x1b[2Jscreen\rover", "info     clear?[2Jscreen?over"),
        ("nginx", "GET /ws/x/?token=abc HTTP/1.1", "info     GET /ws/x/?token=[redacted] HTTP/1.1"),
    ],
)
def test_console_renders_other_programs_lines(
    console: Console, out: io.StringIO, service: str, line: str, shown: str
) -> None:
    """Each program's own form is read as far as it is known; nothing can move the cursor, no token is shown."""
    console.event(service, line)
    assert out.getvalue()[13:].strip() == f"{service:<10} {shown}"


@pytest.mark.parametrize(
    ("service", "line"),
    [
        ("supervisor", "2026-11-20 19:02:47,586 INFO success: nginx entered RUNNING state"),
        ("supervisor", "2026-11-20 19:02:47,586 INFO spawned: 'nginx' with pid 7"),
        ("supervisor", "2026-11-20 19:02:47,586 INFO stopped: nginx (exit status 0)"),
        ("redis", "77:C 20 Nov 2026 19:02:47.589 # oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo"),
        ("redis", "77:C 20 Nov 2026 19:02:47.589 # WARNING Memory overcommit must be enabled! Without it, ..."),
        ("redis", "77:M 20 Nov 2026 19:02:47.589 * Reading RDB base file on AOF loading..."),
        ("redis", "77:signal-handler (1795) Received SIGTERM scheduling shutdown..."),
        ("gateway-1", '{"event": "Starting server at tcp:port=1:interface=127.0.0.1", "logger": "daphne.cli"}'),
    ],
)
def test_console_leaves_out_what_tells_nothing(
    tmp_path: Path, console: Console, out: io.StringIO, service: str, line: str
) -> None:
    """The steps of a good start and a good end are not shown; the file has them."""
    console.event(service, line)
    assert out.getvalue() == ""
    assert (tmp_path / "clarion.log").read_text().count("\n") == 1


@pytest.mark.parametrize(
    "line",
    [
        "WARN exited: nginx (exit status 1; not expected)",
        "INFO gave up: nginx entered FATAL state, too many start retries too quickly",
        "WARN stopped: nginx (terminated by SIGKILL)",
        "WARN killing 'nginx' (7) with SIGKILL",
    ],
)
def test_console_shows_what_went_wrong_with_a_program(console: Console, out: io.StringIO, line: str) -> None:
    """A program that ends by itself, or has to be killed, is an event."""
    console.event("supervisor", f"2026-11-20 19:02:47,586 {line}")
    assert line.split(" ", 1)[1] in out.getvalue()


def test_console_colours_only_a_terminal(tmp_path: Path, console: Console, out: io.StringIO) -> None:
    """Colours are for a terminal; a pipe and the file get plain text."""
    terminal = Terminal()
    with closing(Console(tmp_path / "other.log", terminal)) as coloured:
        for each in (console, coloured):
            each.say("ready")
            each.event("nginx", "a line")
    assert "\033[" in terminal.getvalue()
    assert "\033[" not in out.getvalue() + (tmp_path / "other.log").read_text()


def test_console_counts_requests_that_are_too_many(console: Console, out: io.StringIO) -> None:
    """Of many good requests in a second twenty are shown; a failed one is always shown."""
    for number in range(500):
        console.event("nginx", json.dumps({"event": "request.done", "level": "info", "number": number}))
    console.event("nginx", json.dumps({"event": "request.done", "level": "error", "number": "failed"}))
    shown = out.getvalue().splitlines()
    assert len(shown) < 200
    assert shown[-1].endswith("number=failed")


def test_console_bounds_its_file(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch, out: io.StringIO
) -> None:
    """The file is moved aside once it is large, and only one old one is kept."""
    monkeypatch.setattr(console_module, "_LOG_BYTES", 1000)
    for number in range(100):
        console.event("nginx", f"line {number} {'x' * 50}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clarion.log", "clarion.log.1"]
    assert all(path.stat().st_size < 1200 for path in tmp_path.iterdir())


def test_console_outlives_its_terminal(tmp_path: Path) -> None:
    """A closed pipe stops what is shown, not the run; the file goes on."""

    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    with closing(Console(tmp_path / "clarion.log", Gone())) as console:
        console.say("one")
        console.say("two")
    assert (tmp_path / "clarion.log").read_text() == "one\ntwo\n"
