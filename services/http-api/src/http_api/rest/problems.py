"""Problem documents: the one form of every error under ``/api/``, and pages of the same for browsers.

Source: RFC 9457; docs/reference/errors.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from channels.exceptions import MessageTooLarge
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from rest_framework import exceptions

from clarion.errors import ClarionError, PermissionRefused, PublicationTooLarge
from clarion.values import JSON, json_encode
from http_api.errors import CsrfFailed, DatabaseUnavailable

log = structlog.get_logger(__name__)

CONTENT_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:clarion:problem:"
RETRY_AFTER_S: Final = 1

# RFC 9110's own phrases, whatever Python's version calls them: nginx answers with the same ones.
_TITLES: Final = {413: "Content Too Large"}
_PLAIN_CODES: Final = {
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


def error_response(request: HttpRequest, exc: ClarionError) -> HttpResponse:
    """Answer with the problem document of one of our errors."""
    headers: dict[str, str] = {}
    if exc.temporary:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if challenge := getattr(exc, "challenge", None):
        headers["WWW-Authenticate"] = challenge
    if exc.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request.failed", code=exc.code, path=request.path, cause=repr(exc.__cause__))
    return problem_response(request, exc.http_status, exc.code, exc.detail, headers=headers)


def exception_handler(exc: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """Turn what an API view raised into its answer; None is a bug, which Django logs and answers with 500."""
    request: HttpRequest = context["request"]._request
    if known := _as_clarion_error(exc):
        return error_response(request, known)
    if isinstance(exc, Http404):
        return not_found(request, exc)
    if isinstance(exc, exceptions.ValidationError):
        return problem_response(
            request, 400, "validation_failed", "A field is missing, unknown or wrong.", errors=list(_fields(exc.detail))
        )
    if isinstance(exc, exceptions.APIException):
        headers = {"Allow": ", ".join(context["view"].allowed_methods)} if exc.status_code == 405 else {}
        code = _PLAIN_CODES.get(exc.status_code, "bad_request")
        return problem_response(request, exc.status_code, code, str(exc.detail), headers=headers)
    return None


def _as_clarion_error(exc: Exception) -> ClarionError | None:
    match exc:
        case ClarionError():
            return exc
        case OperationalError() | InterfaceError():
            error = DatabaseUnavailable()
            error.__cause__ = exc
            return error
        case MessageTooLarge():
            return PublicationTooLarge("the data is too large for the channel layer")
        case PermissionDenied():
            return PermissionRefused()
    return None


def _fields(detail: Any, pointer: str = "#") -> Iterator[dict[str, str]]:
    """Flatten DRF's nested details: ``{"users": {3: ["..."]}}`` is the pointer ``#/users/3``."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            escaped = str(name).replace("~", "~0").replace("/", "~1")
            yield from _fields(inner, pointer if name == "non_field_errors" else f"{pointer}/{escaped}")
    elif isinstance(detail, list):
        for inner in detail:
            yield from _fields(inner, pointer)
    else:
        yield {"pointer": pointer, "code": getattr(detail, "code", "invalid"), "detail": str(detail)}


def wants_problem(request: HttpRequest) -> bool:
    """Whether the caller is a program: anything under /api/, or one that sends or asks for JSON."""
    return request.path_info.startswith("/api/") or "json" in (
        request.headers.get("Accept", "") + request.headers.get("Content-Type", "")
    )


def _refuse(request: HttpRequest, status: int, detail: str) -> HttpResponse:
    if wants_problem(request):
        return problem_response(request, status, _PLAIN_CODES[status], detail)
    context = {"status": status, "title": HTTPStatus(status).phrase, "detail": detail}
    return render(request, "errors/problem.html", context, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's ``handler400``: a host name that is not ours, a request that Django calls suspicious."""
    log.warning("request.refused", path=request.path, reason=type(exception).__name__)
    return _refuse(request, 400, "The request could not be read.")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's ``handler403``."""
    return _refuse(request, 403, "You may not do that.")


def not_found(request: HttpRequest, exception: Http404) -> HttpResponse:
    """Django's ``handler404``."""
    return _refuse(request, 404, "There is nothing here.")


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's ``handler500``: Django has logged what was raised. The page needs no session and no database."""
    if wants_problem(request):
        return problem_response(request, 500, "internal", ClarionError.default_detail())
    detail = f"Something went wrong inside; it has been logged as {request.META.get('HTTP_X_REQUEST_ID', '')}."
    try:
        page = render_to_string("errors/problem.html", {"status": 500, "title": "Server Error", "detail": detail})
    except Exception:  # the last handler there is: a template may be what is at fault
        log.exception("error_page.failed")
        return HttpResponse(detail + "\n", status=500, content_type="text/plain; charset=utf-8")
    return HttpResponse(page, status=500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's ``CSRF_FAILURE_VIEW``."""
    log.warning("csrf.failed", path=request.path, reason=reason)
    if wants_problem(request):
        return error_response(request, CsrfFailed())
    return _refuse(request, 403, "This form is too old or came from elsewhere: go back, reload, and try again.")
