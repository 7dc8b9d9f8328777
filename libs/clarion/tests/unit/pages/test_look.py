"""The one stylesheet, the shared templates and modules: what can be proved of them without a browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

import clarion.pages
from tests.support.page_rules import inline_code, text_parsing

PAGES: Final = Path(clarion.pages.__file__).parent
STYLESHEET: Final = (PAGES / "static/clarion/clarion.css").read_text()
TOKENS: Final = {
    name: (light, dark)
    for name, light, dark in re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", STYLESHEET)
}
INKS: Final = ("ink", "muted", "accent", "ok", "bad", "info")
TEXT_PAIRS: Final = [
    *((ink, ground) for ground in ("bg", "surface", "raised") for ink in INKS),
    ("warn", "bg"),
    ("warn", "surface"),
    ("on-accent", "accent"),
    ("bg", "ink"),
]
SHAPE_PAIRS: Final = [
    *(("edge", ground) for ground in ("bg", "surface", "raised")),
    *((state, "raised") for state in ("ok", "warn", "bad", "info", "muted")),
]


def _luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2, 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("front", "ground", "least"),
    [*((*pair, 4.5) for pair in TEXT_PAIRS), *((*pair, 3.0) for pair in SHAPE_PAIRS)],
)
def test_stylesheet_pair_has_contrast(front: str, ground: str, least: float, theme: int) -> None:
    """Every pair that carries text has 4.5 : 1, every boundary and dot 3 : 1 (WCAG 2.2, 1.4.3 and 1.4.11)."""
    assert _contrast(TOKENS[front][theme], TOKENS[ground][theme]) >= least


def test_stylesheet_colours_are_tokens() -> None:
    """No rule brings a colour of its own, so that the pairs above are all there are."""
    rules = STYLESHEET.partition("/* ---- ground")[2]
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[;\s)])", re.sub(r"^#.*?\{", "{", rules, flags=re.M)) == []
    assert re.findall(r"rgb\([^)]*\)", rules) == ["rgb(0 0 0 / 0.25)"]  # the one shadow


def test_stylesheet_takes_nothing_from_elsewhere() -> None:
    """No font, image or sheet is fetched."""
    assert not re.search(r"@import|@font-face|url\(|https?:", STYLESHEET)


@pytest.mark.parametrize("template", sorted(PAGES.rglob("*.html")), ids=lambda path: path.name)
def test_template_needs_no_inline_code(template: Path) -> None:
    """The content policy allows neither inline scripts, handlers or styles nor another origin."""
    assert inline_code(template.read_text()) == []


@pytest.mark.parametrize("module", sorted(PAGES.rglob("*.js")), ids=lambda path: path.name)
def test_module_puts_texts_in_as_texts(module: Path) -> None:
    """Nothing parses HTML or code from a string: a payload can only become a text node."""
    assert text_parsing(module.read_text()) == []
