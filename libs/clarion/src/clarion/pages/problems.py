"""Errors as problem documents for programs, and as pages for browsers; Django's handlers of 400, 403, 404 and 500.

Source: RFC 9457; docs/reference/errors.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import structlog
from django.core.exceptions import DisallowedHost
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from clarion.errors import ClarionError, HostNotAllowed
from clarion.values import JSON, json_encode

log = structlog.get_logger(__name__)

CONTENT_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:clarion:problem:"

_HOST_LOGGED_CHARS: Final = 260  # a name's most, and a port

# RFC 9110's own phrases, whatever Python's version calls them: nginx answers with the same ones.
_TITLES: Final = {413: "Content Too Large"}
PLAIN_CODES: Final = {
    400: "bad_request",
    401: "unauthorized",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    415: "media_type_unsupported",
    429: "too_many_requests",
    500: "internal",
}


def problem_response(
    request: HttpRequest,
    status: int,
    code: str,
    detail: str,
    *,
    errors: list[dict[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """Answer with one problem document.

    Args:
        code: stable; ``type`` is made of it.
        detail: what is wrong with this request; never a secret or a payload.
        errors: one ``{"pointer", "code", "detail"}`` per wrong field; the pointer as in RFC 9457 section 3.
    """
    document: dict[str, JSON] = {
        "type": TYPE_PREFIX + code,
        "title": _TITLES.get(status, HTTPStatus(status).phrase),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request.META.get("HTTP_X_REQUEST_ID", ""),
    }
    if errors:
        document["errors"] = errors
    return HttpResponse(json_encode(document), status=status, content_type=CONTENT_TYPE, headers=dict(headers or {}))


def wants_problem(request: HttpRequest) -> bool:
    """Whether the caller is a program: anything under /api/, or one that sends or asks for JSON."""
    return request.path_info.startswith("/api/") or "json" in (
        request.headers.get("Accept", "") + request.headers.get("Content-Type", "")
    )


def refuse(request: HttpRequest, status: int, detail: str, code: str = "") -> HttpResponse:
    """Answer with a problem document or a page, as the caller wants it; ``code`` is the status's unless it is given."""
    code = code or PLAIN_CODES[status]
    if wants_problem(request):
        return problem_response(request, status, code, detail)
    context = {"status": status, "title": HTTPStatus(status).phrase, "detail": detail}
    # Under a foreign name every address of ours is refused: any link would lead to the same page.
    context["is_foreign_host"] = code == HostNotAllowed.code
    return render(request, "clarion/problem.html", context, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's ``handler400``: a host name that is not ours, a request that Django calls suspicious.

    One line of the log each, for anyone can provoke it; the answer names neither the host that came nor those allowed.
    """
    host = request.META.get("HTTP_HOST", "")[:_HOST_LOGGED_CHARS]
    log.warning("request.refused", path=request.path, reason=type(exception).__name__, host=host)
    if isinstance(exception, DisallowedHost):
        return refuse(request, 400, HostNotAllowed.default_detail(), HostNotAllowed.code)
    return refuse(request, 400, "The request could not be read.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's ``handler403``."""
    return refuse(request, 403, "You may not do that.")


def not_found(request: HttpRequest, exception: Http404) -> HttpResponse:
    """Django's ``handler404``."""
    return refuse(request, 404, "There is nothing here.")


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's ``handler500``: Django has logged what was raised. The page needs no session and no database."""
    if wants_problem(request):
        return problem_response(request, 500, "internal", ClarionError.default_detail())
    detail = f"Something went wrong inside; it has been logged as {request.META.get('HTTP_X_REQUEST_ID', '')}."
    try:
        page = render_to_string("clarion/problem.html", {"status": 500, "title": "Server Error", "detail": detail})
    except Exception:  # the last handler there is: a template may be what is at fault
        log.exception("error_page.failed")
        return HttpResponse(detail + "\n", status=500, content_type="text/plain; charset=utf-8")
    return HttpResponse(page, status=500)
