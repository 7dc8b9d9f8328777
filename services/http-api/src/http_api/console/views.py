"""The console page: joins a channel's plain room and shows what arrives."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from clarion.names import personal_channel
from http_api.console.selectors import page_facts
from http_api.env import env


@require_safe
@never_cache
def console(request: HttpRequest) -> HttpResponse:
    """Show the console, or how to sign in. ``?channel=`` is joined at once; the page's own script checks the name."""
    context: dict[str, Any] = {"is_development": env.is_development, "next": request.get_full_path()}
    if request.user.is_authenticated:
        facts = page_facts(str(request.user.pk))
        own = personal_channel(facts["user"])
        examples = [*facts["examples"], own]
        channel = request.GET.get("channel", examples[0])
        context |= {"page": facts, "examples": examples, "own_channel": own, "channel": channel}
    return render(request, "console/console.html", context)
