"""docs/reference/logs.md and the code agree: each event has its row, with levels and keys, and each row its event."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "reference" / "logs.md"
SERVER: Final = ROOT / "libs" / "clarion" / "src" / "clarion" / "server"
SECTIONS: Final = {
    "The library": ROOT / "libs" / "clarion" / "src",
    "The server": SERVER,
    "http-api": ROOT / "services" / "http-api" / "src",
    "ws-gateway": ROOT / "services" / "ws-gateway" / "src",
    "notifier": ROOT / "services" / "notifier" / "src",
}
"""The page's headings, and whose events stand below."""

LEVELS: Final = {name: name for name in ("debug", "info", "warning", "error", "critical")} | {"exception": "error"}
"""The methods that log, and the level of what they write."""

NAMED: Final = "extra"
"""What names a line of plain ``logging`` (``clarion.logs.name_foreign``); its sentence is the key ``message`` then."""

_EVENT: Final = re.compile(r"[a-z]+(?:_[a-z]+)*\.[a-z]+(?:_[a-z]+)*")
_ROW: Final = re.compile(r"^\| `([^`]+)` \| ([a-z, ]+) \|([^|]*)\|([^|]*)\|([^|]*)\|$", re.MULTILINE)


@dataclass
class Seen:
    """What is written under one name.

    Attributes:
        keys: those of all places together; never what every line has.
    """

    levels: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)


Events = dict[tuple[str, str], Seen]
"""By the page's heading and the event's name."""


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of ours, with its heading."""
    for heading, folder in SECTIONS.items():
        for path in folder.rglob("*.py"):
            if folder == SERVER or SERVER not in path.parents:
                yield heading, path


def log_calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    """Every call of the module's ``log``, with its method."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=method)) if method in {*LEVELS, "log"}:
                yield method, node


def levels_of(method: str, call: ast.Call) -> set[str]:
    """``log.log(level if … else other, …)`` has several."""
    if method in LEVELS:
        return {LEVELS[method]}
    names = {node.attr for node in ast.walk(call.args[0]) if isinstance(node, ast.Attribute)}
    return {name.lower() for name in names if name.isupper()}


def names_of(argument: ast.expr) -> set[str]:
    """The text, or both of ``one if … else other``."""
    match argument:
        case ast.Constant(value=str(name)):
            return {name}
        case ast.IfExp(body=ast.Constant(value=str(one)), orelse=ast.Constant(value=str(other))):
            return {one, other}
    raise AssertionError(f"an event's name is not in the call that logs it: {ast.unparse(argument)}")


def read(call: ast.Call) -> tuple[set[str], set[str]]:
    """The names and the keys of one call."""
    keys = {keyword.arg for keyword in call.keywords} - {"exc_info"}
    assert None not in keys, f"keys are not in the call that logs them: {ast.unparse(call)}"
    extra = [keyword.value for keyword in call.keywords if keyword.arg == NAMED]
    if not extra:
        return names_of(call.args[0]), {str(key) for key in keys}
    named = ast.literal_eval(extra[0])
    return {named.pop("event")}, {*named, "message"}


def logged() -> Events:
    """What the code writes."""
    events: Events = defaultdict(Seen)
    for heading, path in modules():
        for method, call in log_calls(ast.parse(path.read_text(encoding="utf-8"))):
            names, keys = read(call)
            for name in names:
                events[heading, name].levels |= levels_of(method, call)
                events[heading, name].keys |= keys
    return events


def rows() -> Iterator[tuple[str, re.Match[str]]]:
    """The rows of the page, with their heading."""
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading = section.partition("\n")[0]
        if heading in SECTIONS:
            yield from ((heading, row) for row in _ROW.finditer(section))


def documented() -> Events:
    """What the page says that the code writes."""
    return {
        (heading, row[1]): Seen(set(row[2].split(", ")), set(re.findall(r"`(\w+)`", row[3]))) for heading, row in rows()
    }


def test_events_are_documented() -> None:
    """Each event that the code writes has a row with its levels and keys, and no row has another."""
    code, page = logged(), documented()
    assert ("notifier", "message.died") in code
    assert code.keys() - page.keys() == set(), "without a row"
    assert page.keys() - code.keys() == set(), "rows of nothing"
    assert {name: (code[name], page[name]) for name in code if code[name] != page[name]} == {}


def test_events_have_one_form() -> None:
    """`noun.verb`, lower case, whoever writes it: a name can be searched, counted and kept."""
    assert [name for _, name in logged() if not _EVENT.fullmatch(name)] == []


def test_rows_are_whole_and_in_order() -> None:
    """Each row says what it means, one that is a warning or worse what to do; by their names, so that one is found."""
    found = list(rows())
    assert [row[1] for _, row in found if not row[4].strip()] == []
    grave = {"warning", "error", "critical"}
    assert [row[1] for _, row in found if grave & set(row[2].split(", ")) and not row[5].strip()] == []
    for heading in SECTIONS:
        names = [row[1] for of, row in found if of == heading]
        assert names == sorted(set(names)), heading


def test_nginx_writes_the_same_form() -> None:
    """The access log is one event, whose keys are those of its row and of every line."""
    text = (ROOT / "deploy" / "nginx" / "access_log.inc").read_text(encoding="utf-8")
    written = re.findall(r'"(\w+)":', text)
    section = PAGE.read_text(encoding="utf-8").partition("\n## nginx\n")[2].partition("\n## ")[0]
    (row,) = _ROW.finditer(section)
    assert f'"event":"{row[1]}"' in text
    assert written == ["event", "level", "logger", "service", "timestamp", *re.findall(r"`(\w+)`", row[3])]


def test_mentioned_events_exist() -> None:
    """Where a page names an event, it is one that is there: no runbook looks for what nobody writes."""
    known = {name for _, name in logged()} | {"request.done"}
    verbs = {name.partition(".")[2] for name in known}
    for page in [*ROOT.glob("docs/**/*.md"), *ROOT.glob("k8s/**/*.md"), *ROOT.glob("*/*/README.md")]:
        said = re.findall(r"`([a-z_]+\.([a-z_]+))`", page.read_text(encoding="utf-8"))
        assert [name for name, verb in said if verb in verbs and name not in known] == [], page
