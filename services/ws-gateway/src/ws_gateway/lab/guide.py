"""The tutorial beside the lessons: Markdown files of the checkout's ``docs``, rendered for a reader of the page.

Where the service runs without a checkout, as in a container image, there is no tutorial and no link to one.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from ws_gateway.lab.sources import code_lines

DOCS: Final = (Path(__file__).parent / "../../../../../docs").resolve()
"""Of a checkout; of an installed package it leads to no such folder, if need be from the root."""
TUTORIAL: Final = "tutorial/channels.md"

_THIS_PAGE: Final = "http://127.0.0.1:8080/"
"""Where ``make up`` serves: who reads the file elsewhere is led there, who reads it here stays."""
_CODE: Final = (
    '<div class="code"><pre id="{id}">{code}</pre>'
    '<button class="button button-small" type="button" data-copy="{id}" aria-label="Copy this block">Copy</button>'
    "</div>\n"
)
_ELSEWHERE: Final = re.compile(r"[a-z][a-z0-9+.-]*:|//|/")
_NOT_IN_ANCHOR: Final = re.compile(r"[^\w\- ]")


@cache
def pages() -> frozenset[str]:
    """The names of all pages, below ``docs``; empty without a checkout."""
    if not (DOCS / TUTORIAL).is_file():
        return frozenset()
    return frozenset(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def title_of(name: str) -> str:
    """The first heading of a page, or its name."""
    heading = re.search(r"^# (.+)$", _text(name), re.MULTILINE)
    return heading[1].replace("`", "") if heading else name


def page_html(name: str) -> SafeString:
    """One of :func:`pages` as HTML; HTML that is written in it is shown as text."""
    markdown = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")
    tokens = markdown.parse(_text(name))
    _anchor(tokens)
    _keep_links(tokens, name)
    return SafeString(markdown.renderer.render(tokens, markdown.options, {}))


def _text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def _anchor(tokens: Sequence[Token]) -> None:
    """Give each heading the anchor that code hosts give it, so that one link works here and there."""
    seen: dict[str, int] = {}
    for token, content in pairwise(tokens):
        if token.type != "heading_open":
            continue
        anchor = _NOT_IN_ANCHOR.sub("", content.content.lower()).replace(" ", "-")
        count = seen[anchor] = seen.get(anchor, -1) + 1
        token.attrSet("id", f"{anchor}-{count}" if count else anchor)


def _keep_links(tokens: Sequence[Token], name: str) -> None:
    """Keep the links that lead somewhere from here; of others (a source file's) the words stay."""
    for block in tokens:
        leads = True
        for token in block.children or ():
            if token.type == "link_open":
                token.attrSet("href", re.sub(f"^{_THIS_PAGE}", "/", str(token.attrGet("href"))))
                leads = _leads(str(token.attrGet("href")), name)
            if token.type in {"link_open", "link_close"} and not leads:
                token.hidden = True


def _leads(href: str, name: str) -> bool:
    if href.startswith("#") or _ELSEWHERE.match(href):
        return True
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), href.partition("#")[0])) in pages()


class _Renderer(RendererHTML):
    """Code as on the lessons' cards, and no style attribute: the page's policy forbids it."""

    def fence(self, tokens: Sequence[Token], idx: int, _options: OptionsDict, _env: EnvType) -> str:
        """A block of code, with the classes of the stylesheet."""
        language, text = tokens[idx].info.partition(" ")[0], tokens[idx].content
        code = "".join(code_lines(text, language or "text"))
        if language in {"", "text"}:  # what a command prints: nobody pastes it
            return f"<pre>{code}</pre>\n"
        return format_html(_CODE, id=f"code-{idx}", code=SafeString(code))

    def code_block(self, tokens: Sequence[Token], idx: int, _options: OptionsDict, _env: EnvType) -> str:
        """An indented block of code."""
        return f"<pre>{escape(tokens[idx].content)}</pre>\n"

    def renderToken(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:  # noqa: N802
        """A token, unless it is hidden; a cell's alignment as a class."""
        token = tokens[idx]
        if token.hidden:
            return ""
        style: Any = token.attrs.pop("style", None)
        if style:
            token.attrSet("class", f"is-{str(style).rpartition(':')[2]}")
        return super().renderToken(tokens, idx, options, env)
