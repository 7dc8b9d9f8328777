"""The console's modules on a blank page: served from disk, no server and no network."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

from playwright.sync_api import Page, Route

STATIC: Final = Path(__file__).parents[2] / "services/http-api/src/http_api/console/static/console"
ORIGIN: Final = "http://modules.test"

RunModule: TypeAlias = Callable[..., Any]
"""``run(module, body, arg=None)``: the body of an async function that sees ``module`` and ``arg``."""


def module_runner(page: Page) -> RunModule:
    """Make the page one of an origin that holds the modules; return what runs code there."""
    page.route(f"{ORIGIN}/**", _serve)
    page.goto(ORIGIN)

    def run(module: str, body: str, arg: object = None) -> Any:
        path = "/fakes.js" if module == "fakes" else f"/console/{module}.js"
        return page.evaluate(f"async (arg) => {{ const module = await import('{path}'); {body} }}", arg)

    return run


def _serve(route: Route) -> None:
    path = route.request.url.removeprefix(ORIGIN)
    if path == "/fakes.js":
        file = Path(__file__).with_name("fakes.js")
    elif path.startswith("/console/"):
        file = STATIC / path.removeprefix("/console/")
    else:
        route.fulfill(body="<!doctype html><title>modules</title>", content_type="text/html")
        return
    route.fulfill(body=file.read_bytes(), content_type=mimetypes.types_map.get(file.suffix, "text/plain"))
