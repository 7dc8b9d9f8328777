"""Source files as the page shows them: exactly what runs, highlighted by Pygments into classes of the stylesheet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from django.contrib.staticfiles import finders
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Keyword, Name, Number, Operator, String, _TokenType
from pygments.util import ClassNotFound

PACKAGE: Final = Path(__file__).parent

# The first that holds a token gives it its class; of the rest nothing is marked, so that the page stays small.
_CLASSES: Final = (
    (Comment, "comment"),
    (String.Doc, "comment"),
    (String, "string"),
    (Keyword, "keyword"),
    (Operator.Word, "keyword"),
    (Name.Function, "definition"),
    (Name.Class, "definition"),
    (Name.Decorator, "constant"),
    (Name.Builtin, "constant"),
    (Number, "constant"),
)


@dataclass(frozen=True)
class Source:
    """One file, ready for the page."""

    name: str
    """Its path below the folder that it is looked for in."""
    html: SafeString
    line_count: int


@cache
def package_source(name: str) -> Source:
    """A file of this package, e.g. ``consumers/room.py``; read once, as the interpreter did."""
    return _source(name, PACKAGE / name, "python")


@cache
def browser_source(name: str) -> Source:
    """A static file, e.g. ``lab/lessons/room.js``, as the browser gets it.

    Raises:
        FileNotFoundError: no such static file.
    """
    path = finders.find(name)
    if path is None:
        raise FileNotFoundError(name)
    return _source(name, Path(path), "javascript")


def _source(name: str, path: Path, language: str) -> Source:
    lines = code_lines(path.read_text(encoding="utf-8"), language)
    return Source(name, format_html_join("", '<span class="line">{}</span>', ((line,) for line in lines)), len(lines))


def code_lines(text: str, language: str) -> list[SafeString]:
    """The text's lines as HTML, with their line breaks; of a language that Pygments does not know, as they are."""
    try:
        lexer = get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        lexer = get_lexer_by_name("text", stripnl=False)
    lines = [SafeString("")]
    for kind, value in lexer.get_tokens(text):
        for part in value.splitlines(keepends=True):
            lines[-1] += _marked(kind, part)  # SafeString + SafeString is one
            if part.endswith("\n"):
                lines.append(SafeString(""))
    return [line for line in lines if line]


def _marked(kind: _TokenType, text: str) -> SafeString:
    # `in` asks for a subtype, whatever a tuple of strings would make of it.
    name = next((name for parent, name in _CLASSES if kind in parent), None)  # type: ignore[comparison-overlap]
    if name is None or text.isspace():
        return escape(text)
    body = text.removesuffix("\n")
    return format_html('<span class="hl-{}">{}</span>{}', name, body, text[len(body) :])
