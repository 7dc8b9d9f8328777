"""clarion.globs: which names a pattern takes."""

from __future__ import annotations

import time

import pytest

from clarion.errors import RequestInvalid
from clarion.globs import glob_compile

TAKEN = {
    "*": ["a", "chat:room", "#42"],
    "chat:*": ["chat:", "chat:room-1", "chat:a:b"],
    "*:room": ["chat:room", "a:b:room"],
    "chat:room-?": ["chat:room-1"],
    "chat:[ab]x": ["chat:ax", "chat:bx"],
    "chat:[a-c]": ["chat:b"],
    "chat:[!a-c]": ["chat:d", "chat:!"],
    "{chat,news}:*": ["chat:x", "news:x"],
    "chat:{a,b{1,2},}": ["chat:a", "chat:b1", "chat:b2", "chat:"],
    "{a*,*b}c": ["axc", "xbc"],
    "chat:[{,}]": ["chat:{", "chat:,"],
    r"chat:\{a\}": ["chat:{a}"],
    r"chat:\[a\]": ["chat:[a]"],
    r"chat:\!x\,": ["chat:!x,"],
    "chat:[a": ["chat:[a"],
    "chat:a.b|c": ["chat:a.b|c"],
    "#42": ["#42"],
}
LEFT = {
    "chat:*": ["chat", "news:x", "xchat:x", "CHAT:x"],
    "*:room": ["chat:rooms", "room"],
    "chat:room-?": ["chat:room-", "chat:room-12"],
    "chat:[!a-c]": ["chat:a", "chat:"],
    "{chat,news}:*": ["chatnews:x", "{chat,news}:x"],
    "a.b": ["axb"],
    r"chat:\[a\]": ["chat:a"],
    "room": ["room\n", "rooms"],
}


@pytest.mark.parametrize("glob", TAKEN)
def test_glob_takes_what_it_stands_for(glob: str) -> None:
    """Stars, sets, alternatives and escapes, on the whole name."""
    matches = glob_compile(glob).match
    assert [name for name in TAKEN[glob] if not matches(name)] == []


@pytest.mark.parametrize("glob", LEFT)
def test_glob_leaves_the_rest(glob: str) -> None:
    """Nothing before, behind or beside it; case counts."""
    matches = glob_compile(glob).match
    assert [name for name in LEFT[glob] if matches(name)] == []


@pytest.mark.parametrize("glob", ["{a", "a}", "{{a}", "}{", "x" * 1_001, "{a,b}" * 7, "{" + "a," * 100 + "}"])
def test_glob_refuses_what_it_cannot_take(glob: str) -> None:
    """A lone brace, a long pattern, and braces that stand for more than a hundred."""
    with pytest.raises(RequestInvalid):
        glob_compile(glob)


@pytest.mark.parametrize("glob", ["*a" * 40 + "b", "?*" * 100 + "b", "{*a*a*a*a*a*a,*a*a*a*a*a}*a*a*ab"])
def test_glob_takes_no_longer_for_many_stars(glob: str) -> None:
    """A name that nearly fits in many ways is refused at once: no backtracking over the stars."""
    matches = glob_compile(glob).match
    start = time.monotonic()
    assert not matches("a" * 200)
    assert time.monotonic() - start < 2, "milliseconds are usual"
