"""What every template of the gateway is told."""

from __future__ import annotations

from django.http import HttpRequest


def here(request: HttpRequest) -> dict[str, str]:
    """The page's own path with its query: where signing in and signing out lead back to."""
    return {"here": request.get_full_path()}
