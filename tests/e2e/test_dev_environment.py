"""The page of environment variables is complete: each variable that is read is there, with its default."""

from __future__ import annotations

import ast
import re

import pytest

from tests.support.product import ROOT

PAGE = ROOT / "docs" / "reference" / "environment.md"
CLASSES = {
    "All services": ("libs/clarion/src/clarion/env.py", "ServiceEnv"),
    "Services with pages": ("libs/clarion/src/clarion/env.py", "PagesEnv"),
    "http-api": ("services/http-api/src/http_api/env.py", "HttpApiEnv"),
    "ws-gateway": ("services/ws-gateway/src/ws_gateway/env.py", "GatewayEnv"),
    "notifier": ("services/notifier/src/notifier/env.py", "NotifierEnv"),
    "make up": ("deploy/dev/env.py", "DevEnv"),
}


@pytest.mark.parametrize("section", CLASSES)
def test_environment_page_lists_what_is_read(section: str) -> None:
    """A section's table holds exactly the fields of its environment class."""
    page = {block.partition("\n")[0]: block for block in PAGE.read_text().split("\n## ")}
    listed = re.findall(r"^\| `([A-Z_]+)` \|", page[section], re.MULTILINE)
    assert sorted(listed) == sorted(_variables(*CLASSES[section]))


def _variables(path: str, name: str) -> list[str]:
    """Read the annotated fields of an environment class without importing it: that would need a whole one."""
    classes = [node for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.ClassDef)]
    (env,) = [each for each in classes if each.name == name]
    names = [
        node.target.id for node in env.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    return ["DATABASE_URL" if name == "database_url" else f"CLARION_{name.upper()}" for name in names]
