"""Globs: patterns of channels' names, as the server API's ``channels`` takes them.

``*`` stands for any characters, ``?`` for one, ``[a-z]`` and ``[!a-z]`` for one of a set or none of it, ``{a,b}`` for
one of several globs; a backslash takes a character's meaning away. Nothing is special about ``:``.

Source: docs/reference/server-api.md, "channels"; the syntax is that of gobwas/glob without separators.
"""

from __future__ import annotations

import fnmatch
import re
from typing import Final

from clarion.errors import RequestInvalid

GLOB_MAX_CHARS: Final = 1_000
ALTERNATIVES_MAX: Final = 100
"""Most globs that the braces of one may stand for."""

_BRACES: Final = re.compile(r"\\.|\[[^\]]*\]|[{}]")
_PARTS: Final = re.compile(r"\\.|\[[^\]]*\]|[,{}]")


def glob_compile(glob: str) -> re.Pattern[str]:
    """Make a pattern whose ``match`` decides on a whole name; its time grows with the name, whatever the glob.

    Raises:
        RequestInvalid: HTTP 400, protocol error 107; too long, a brace without its other, or too many alternatives.
    """
    if len(glob) > GLOB_MAX_CHARS:
        raise RequestInvalid(f"a pattern has at most {GLOB_MAX_CHARS:,} characters")
    # fnmatch writes each run between two stars as an atomic group: no pattern backtracks over the others.
    return re.compile("|".join(fnmatch.translate(_unescaped(plain)) for plain in _expanded(glob)))


def _expanded(glob: str) -> list[str]:
    """The globs without braces that a glob stands for."""
    waiting, found = [glob], list[str]()
    while waiting:
        first = waiting.pop(0)
        start, end = _first_braces(first)
        if start < 0:
            found.append(first)
        else:
            waiting += [first[:start] + part + first[end + 1 :] for part in _parts(first[start + 1 : end])]
        if len(waiting) + len(found) > ALTERNATIVES_MAX:
            raise RequestInvalid(f"the pattern's braces stand for more than {ALTERNATIVES_MAX} patterns")
    return found


def _first_braces(glob: str) -> tuple[int, int]:
    """Where the first brace and its other are, or (-1, -1)."""
    depth, start = 0, -1
    for mark in _BRACES.finditer(glob):
        if mark.group() == "{":
            start = mark.start() if depth == 0 else start
            depth += 1
        elif mark.group() == "}":
            depth -= 1
            if depth == 0:
                return start, mark.start()
            if depth < 0:
                break
    if depth:
        raise RequestInvalid("the pattern has a brace without its other")
    return -1, -1


def _parts(inside: str) -> list[str]:
    """Split at the commas that are in no further braces."""
    parts, depth, start = [], 0, 0
    for mark in _PARTS.finditer(inside):
        depth += {"{": 1, "}": -1}.get(mark.group(), 0)
        if mark.group() == "," and depth == 0:
            parts.append(inside[start : mark.start()])
            start = mark.end()
    return [*parts, inside[start:]]


def _unescaped(glob: str) -> str:
    """Write an escaped character as a set of one, where it means something: fnmatch knows no backslash."""
    return re.sub(r"\\(.)", lambda escaped: f"[{char}]" if (char := escaped[1]) in "*?[]\\" else char, glob)
