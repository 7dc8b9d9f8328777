"""The documents and the code agree: links and headings resolve, and every code and option is documented."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import pytest

from clarion import errors
from clarion.codes import CloseCode, ErrorCode, RoomCloseCode
from clarion.errors import ClarionError
from clarion.namespaces import ChannelOptions, ChannelTable, ClientTable, LimitsTable
from clarion.server.losses import Lost
from clarion.server.refusals import Refusal

ROOT: Final = Path(__file__).resolve().parents[2]
PROTOCOL: Final = ROOT / "docs" / "protocol.md"
METRICS: Final = ROOT / "docs" / "reference" / "metrics.md"
ERRORS: Final = ROOT / "docs" / "reference" / "errors.md"

_SKIPPED: Final = {".git", ".venv", ".run", ".tools", "node_modules", "artefacts", "results"}
_FENCE: Final = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"`[^`\n]*`")
_HEADING: Final = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t]*#*$", re.MULTILINE)
_LINK: Final = re.compile(r"\]\(\s*<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_EXTERNAL: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_CITED_PAGE: Final = re.compile(r"\b((?:docs|deploy)/[\w/-]+\.md)\b(?:,\s+\"([^\"]+)\")?")
_CITED_ADR: Final = re.compile(r"\bADR-(\d{4})\b")


def _files(*suffixes: str) -> Iterator[Path]:
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in _SKIPPED and not name.endswith("_cache")]
        yield from (Path(folder, name) for name in names if name.endswith(suffixes))


PAGES: Final = sorted(_files(".md"))
SOURCES: Final = sorted(_files(".py", ".js", ".toml", ".conf", ".template", ".inc", ".sh", ".html"))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _prose(path: Path) -> str:
    """The page without its fenced blocks: nothing in them is a link or a heading."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def _headings(path: Path) -> list[str]:
    return [heading.replace("`", "") for heading in _HEADING.findall(_prose(path))]


def _anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives the page's headings."""
    anchors: set[str] = set()
    for heading in _headings(path):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        anchor, number = slug, 0
        while anchor in anchors:
            number += 1
            anchor = f"{slug}-{number}"
        anchors.add(anchor)
    return anchors


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_page_links_resolve(page: Path) -> None:
    """Every relative link of a page leads to a file of this repository and, with a #, to a heading of it."""
    broken = []
    for link in _LINK.findall(_CODE.sub("", _prose(page))):
        if _EXTERNAL.match(link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_relative_to(ROOT) or not target.exists():
            broken.append(f"{link}: no such file here")
        elif anchor and (target.suffix != ".md" or anchor not in _anchors(target)):
            broken.append(f"{link}: no such heading")
    assert not broken, "\n".join(broken)


def _missing_citations(source: Path) -> list[str]:
    # A docstring's lines are joined, because a citation may stand on two.
    text = re.sub(r"\n[ \t]*(?:#|//|\*)?[ \t]*", " ", source.read_text(encoding="utf-8"))
    missing = [f"ADR-{number}" for number in _CITED_ADR.findall(text) if not [*ROOT.glob(f"docs/adr/{number}-*.md")]]
    for path, heading in _CITED_PAGE.findall(text):
        page = ROOT / path
        if not page.is_file():
            missing.append(path)
        elif heading and heading not in _headings(page):
            missing.append(f'{path}, "{heading}"')
    return missing


def test_cited_pages_exist() -> None:
    """A page, a heading or an ADR that a docstring, a comment or a page names as its source is there."""
    missing = [f"{_name(source)}: {cited}" for source in [*SOURCES, *PAGES] for cited in _missing_citations(source)]
    assert not missing, "\n".join(missing)


def _library_errors() -> dict[str, type[ClarionError]]:
    """The classes of clarion.errors by their codes; of several with one code, the first."""
    kinds: dict[str, type[ClarionError]] = {}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, ClarionError):
            kinds.setdefault(kind.code, kind)
    return kinds


def _http_api_codes() -> set[str]:
    """Codes of http-api, its error pages' included, read as text: importing them would need its environment."""
    codes: set[str] = set()
    folder = ROOT / "services" / "http-api" / "src" / "http_api"
    for node in ast.walk(ast.parse((folder / "errors.py").read_text(encoding="utf-8"))):
        match node:
            case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code))):
                codes.add(code)
    problems = (ROOT / "libs" / "clarion" / "src" / "clarion" / "pages" / "problems.py").read_text(encoding="utf-8")
    return codes | set(re.findall(r"^ +\d{3}: \"(\w+)\",$", problems, re.MULTILINE)) | {"validation_failed"}


def _nginx_codes() -> set[str]:
    text = (ROOT / "deploy" / "nginx" / "problems.inc").read_text(encoding="utf-8")
    table = text.partition("$problem_code {")[2].partition("}")[0]
    return set(re.findall(r"^\s+\d{3} (\w+);", table, re.MULTILINE))


def _rows(page: Path) -> str:
    return "\n".join(line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|"))


def test_error_codes_are_documented() -> None:
    """Every stable error code of the library has a row in protocol.md with its HTTP status and protocol number."""
    rows = _rows(PROTOCOL)
    wanted = {
        f"| `{code}` | {kind.http_status} | {int(kind.protocol_code)} | {'yes ' if kind.temporary else ''}|"
        for code, kind in _library_errors().items()
    }
    assert {row for row in wanted if row not in rows} == set()


def test_error_codes_of_http_are_documented() -> None:
    """Every code that http-api or nginx can answer with has a row in docs/reference/errors.md or in protocol.md."""
    ours, nginx = _http_api_codes(), _nginx_codes()
    assert {"scope_missing", "not_found"} <= ours
    assert {"upstream_unavailable"} <= nginx
    rows = _rows(ERRORS) + _rows(PROTOCOL)
    assert {code for code in ours | nginx if f"`{code}`" not in rows} == set()


def test_documented_codes_exist() -> None:
    """The tables of codes name no code that nothing answers with."""
    known = _library_errors().keys() | _http_api_codes() | _nginx_codes()
    for page, heading in ((ERRORS, "## Codes of http-api"), (ERRORS, "## Codes of nginx"), (PROTOCOL, "### Errors")):
        section = page.read_text(encoding="utf-8").partition(f"{heading}\n")[2].partition("\n#")[0]
        documented = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\|( `[^|]*)\|", section, re.MULTILINE))))
        assert documented
        assert documented - known == set()


def test_close_codes_are_documented() -> None:
    """Every close code that a client can be given has a row saying what the client does on it."""
    text = PROTOCOL.read_text(encoding="utf-8").partition("### Close codes\n")[2].partition("\n### ")[0]
    on_the_wire = {int(code) for code in (*CloseCode, *RoomCloseCode)} - {CloseCode.NO_STATUS}
    documented = {int(code) for code in re.findall(r"^\| (\d{4}) \|", text, re.MULTILINE)}
    assert documented == on_the_wire
    assert str(int(CloseCode.NO_STATUS)) in text


def test_protocol_numbers_are_documented() -> None:
    """Every number of an error reply is in protocol.md's table, by its name."""
    text = _rows(PROTOCOL)
    missing = [code.name for code in ErrorCode if f"| {int(code)} | {code.name.lower().replace('_', ' ')}" not in text]
    assert missing == []


def test_metrics_are_documented() -> None:
    """Every metric that a service shows has a row with its type and labels, and the tables name no other."""
    shown = set()
    for source in (ROOT / folder for folder in ("libs/clarion/src", "services")):
        for module in source.rglob("*.py"):
            if "tests" not in module.parts:
                shown |= _metrics_of(module.read_text(encoding="utf-8"))
    rows = re.findall(r"^\| `(clarion_\w+)` \| (\w+) \|([^|]*)\|", _rows(METRICS), re.MULTILINE)
    documented = {(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert ("clarion_gateway_lost_total", "counter", ("reason",)) in shown
    assert ("clarion_http_requests_total", "counter", ("method", "route", "status")) in shown
    assert documented == shown


def _metrics_of(text: str) -> set[tuple[str, str, tuple[str, ...]]]:
    """Name, type and labels of each metric that a module shows.

    A collector makes it by ``counter(…)``, ``gauge(…)`` or ``histogram(…)``, prometheus_client by ``Counter(…)`` etc.
    """
    found = set()
    tree = ast.parse(text)
    constants = dict(_tuples(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=maker), args=[ast.Constant(value=str(name)), *rest]):
                kind = maker.lower()
                if kind in {"counter", "gauge", "histogram"} and name.startswith("clarion_"):
                    labels = _labels(rest[2:] if maker == kind else rest[1:2], constants)
                    found.add((f"{name}_total" if kind == "counter" else name, kind, labels))
    return found


def _tuples(tree: ast.Module) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Names that stand for a tuple of texts."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Tuple(elts=parts)):
                if all(isinstance(part, ast.Constant) for part in parts):
                    yield name, tuple(ast.literal_eval(part) for part in parts)


def _labels(arguments: list[ast.expr], constants: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    labels: list[str] = []
    for argument in arguments:
        match argument:
            case ast.Constant(value=str(label)):
                labels.append(label)
            case ast.Starred(value=ast.Name(id=constant)):
                labels += constants[constant]
            case ast.Tuple():
                labels += ast.literal_eval(argument)
    return tuple(labels)


def test_loss_reasons_are_documented() -> None:
    """Every reason for which a connection is given up or refused stands in the page of metrics."""
    text = METRICS.read_text(encoding="utf-8")
    losses = text.partition("### Reasons of a loss\n")[2].partition("\n#")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", losses, re.MULTILINE)) == {reason.value for reason in Lost}
    assert [reason for reason in Refusal if f"`{reason}`" not in text] == []


def test_namespace_options_are_documented() -> None:
    """Every option that clarion.toml may hold has a row in protocol.md."""
    rows = _rows(PROTOCOL)
    names = [
        "name",
        *ChannelOptions.model_fields,
        *(f"channel.{name}" for name in ChannelTable.model_fields),
        *(f"client.{name}" for name in ClientTable.model_fields),
        *(f"limits.{name}" for name in LimitsTable.model_fields),
    ]
    assert [name for name in names if f"| `{name}` |" not in rows] == []
