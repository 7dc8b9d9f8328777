"""The page of environment variables is complete: each variable that is read is there, with its default."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.product import ROOT

PAGE = ROOT / "docs" / "reference" / "environment.md"
CLASSES = {
    "All services": "libs/clarion/src/clarion/env.py",
    "http-api": "services/http-api/src/http_api/env.py",
    "ws-gateway": "services/ws-gateway/src/ws_gateway/env.py",
    "notifier": "services/notifier/src/notifier/env.py",
    "make up": "deploy/dev/env.py",
}


@pytest.mark.parametrize("section", CLASSES)
def test_environment_page_lists_what_is_read(section: str) -> None:
    """A section's table holds exactly the fields of its environment class."""
    page = {block.partition("\n")[0]: block for block in PAGE.read_text().split("\n## ")}
    listed = re.findall(r"^\| `([A-Z_]+)` \|", page[section], re.MULTILINE)
    assert sorted(listed) == sorted(_variables(ROOT / CLASSES[section]))


def _variables(path: Path) -> list[str]:
    """Read the annotated fields of a module's environment class without importing it: that would need a whole one."""
    classes = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
    (env,) = [each for each in classes if each.name.endswith("Env")]
    names = [
        node.target.id for node in env.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    return ["DATABASE_URL" if name == "database_url" else f"CLARION_{name.upper()}" for name in names]
