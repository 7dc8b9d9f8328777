"""The pages' modules on a blank page: served from disk, no server and no network."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

from playwright.sync_api import Page, Route

_ROOT: Final = Path(__file__).parents[2]
STATIC: Final = {
    "clarion": _ROOT / "libs/clarion/src/clarion/pages/static/clarion",
    "console": _ROOT / "services/http-api/src/http_api/console/static/console",
}
"""Folders of modules, by the first step of their path."""
ORIGIN: Final = "http://modules.test"

RunModule: TypeAlias = Callable[..., Any]
"""``run(module, body, arg=None)``: the body of an async function that sees ``module`` and ``arg``."""


def module_runner(page: Page) -> RunModule:
    """Make the page one of an origin that holds the modules; return what runs code there."""
    page.route(f"{ORIGIN}/**", _serve)
    page.goto(ORIGIN)

    def run(module: str, body: str, arg: object = None) -> Any:
        path = "/fakes.js" if module == "fakes" else f"/{_folder_of(module)}/{module}.js"
        return page.evaluate(f"async (arg) => {{ const module = await import('{path}'); {body} }}", arg)

    return run


def _folder_of(module: str) -> str:
    return next(name for name, folder in STATIC.items() if (folder / f"{module}.js").is_file())


def _serve(route: Route) -> None:
    path = route.request.url.removeprefix(ORIGIN)
    folder, _, name = path.removeprefix("/").rpartition("/")
    if path == "/fakes.js":
        file = Path(__file__).with_name("fakes.js")
    elif folder in STATIC:
        file = STATIC[folder] / name
    else:
        route.fulfill(body="<!doctype html><title>modules</title>", content_type="text/html")
        return
    route.fulfill(body=file.read_bytes(), content_type=mimetypes.types_map.get(file.suffix, "text/plain"))
