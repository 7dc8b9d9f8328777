"""Middleware of every request: its id, and the headers that tell a browser what a page may do.

Django setting: ``CLARION_ORIGINS``, the origins that our pages may have in a browser.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse

GetResponse: TypeAlias = Callable[[HttpRequest], HttpResponse]

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")


class RequestIdMiddleware:
    """Take nginx's ``X-Request-ID`` or make one, bind it to every log event, send it back."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer with the request's id as ``X-Request-ID``."""
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        request.META["HTTP_X_REQUEST_ID"] = request_id
        # Threads are used again: what the last request bound must be gone.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        response = self._get_response(request)
        response.headers["X-Request-ID"] = request_id
        return response


class SecurityHeadersMiddleware:
    """Say on every page that only this origin's scripts, styles and sockets are meant; no API answer is cached."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response
        self._policy = content_security_policy(settings.CLARION_ORIGINS)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Add the headers that the view did not set itself."""
        response = self._get_response(request)
        if request.path_info.startswith("/api/"):
            response.headers.setdefault("Cache-Control", "no-store")
        else:
            response.headers.setdefault("Content-Security-Policy", self._policy)
        return response


def content_security_policy(origins: Sequence[str]) -> str:
    """The policy of every page: nothing from elsewhere, nothing inline."""
    # 'self' does not cover ws: in older Safari, so sockets' origins are named; Django's admin needs data: images.
    # An IPv6 address cannot be written in a policy (CSP level 3, host-source): there 'self' alone must do.
    sockets = ["ws" + origin.removeprefix("http") for origin in origins if "[" not in origin]
    connect = " ".join(["connect-src 'self'", *sockets])
    return (
        f"default-src 'self'; {connect}; img-src 'self' data:; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
