"""The page ``/lab/`` and the tutorial beside it: open to everybody, signed in or not."""

from __future__ import annotations

from functools import cache
from typing import TypedDict

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ws_gateway.lab import guide
from ws_gateway.lab.examples import EXAMPLES, Example
from ws_gateway.lab.sources import Source, browser_source, package_source


class Lesson(TypedDict):
    """What one card shows."""

    example: Example
    consumers: list[Source]
    browser: Source
    more: list[Source]
    guide: str | None
    """The address of its section in the tutorial, or None where the service has no tutorial."""
    before: Example | None
    after: Example | None


@require_safe
@never_cache
def lab(request: HttpRequest) -> HttpResponse:
    """Show the lessons."""
    return render(request, "lab/lab.html", {"lessons": _lessons(), "guide": _guide_url()})


@require_safe
@never_cache
def guide_page(request: HttpRequest, name: str) -> HttpResponse:
    """Show a page of the documentation; 404 where it has none of that name."""
    if name not in guide.pages():
        raise Http404(name)
    return render(request, "lab/guide.html", {"title": guide.title_of(name), "text": guide.page_html(name)})


@cache
def _lessons() -> list[Lesson]:
    """Every lesson, read and highlighted once: a process runs the sources that it was started with."""
    neighbours = zip((None, *EXAMPLES[:-1]), (*EXAMPLES[1:], None), strict=True)
    return [
        {
            "example": example,
            "consumers": [package_source(f"consumers/{variant.source}") for variant in example.variants],
            "browser": browser_source(example.module),
            "more": [package_source(name) for name in example.more],
            "guide": f"{url}#{example.slug}" if (url := _guide_url()) else None,
            "before": before,
            "after": after,
        }
        for example, (before, after) in zip(EXAMPLES, neighbours, strict=True)
    ]


def _guide_url() -> str | None:
    return reverse("lab-guide", args=[guide.TUTORIAL]) if guide.TUTORIAL in guide.pages() else None
