"""The console's templates and modules: what can be proved of them without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

import http_api.console
from tests.support.page_rules import inline_code, text_parsing

CONSOLE: Final = Path(http_api.console.__file__).parent


@pytest.mark.parametrize("template", sorted(CONSOLE.rglob("*.html")), ids=lambda path: path.name)
def test_template_needs_no_inline_code(template: Path) -> None:
    """The content policy allows neither inline scripts, handlers or styles nor another origin."""
    assert inline_code(template.read_text()) == []


@pytest.mark.parametrize("module", sorted(CONSOLE.rglob("*.js")), ids=lambda path: path.name)
def test_module_puts_texts_in_as_texts(module: Path) -> None:
    """Nothing parses HTML or code from a string: a payload can only become a text node."""
    assert text_parsing(module.read_text()) == []
