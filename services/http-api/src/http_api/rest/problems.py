"""What the API's views raise, as problem documents: the one form of every error under ``/api/``.

Source: RFC 9457; docs/reference/errors.md. Documents and pages of all services: :mod:`clarion.pages.problems`.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

import structlog
from channels.exceptions import MessageTooLarge
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions

from clarion.errors import ClarionError, PermissionRefused, PublicationTooLarge
from clarion.pages.problems import PLAIN_CODES, not_found, problem_response, refuse, wants_problem
from clarion.refusals import redis_reason, redis_refusal_of
from http_api.errors import CsrfFailed, DatabaseUnavailable

log = structlog.get_logger(__name__)

RETRY_AFTER_S: Final = 1


def error_response(request: HttpRequest, exc: ClarionError) -> HttpResponse:
    """Answer with the problem document of one of our errors."""
    headers: dict[str, str] = {}
    if exc.temporary:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if challenge := getattr(exc, "challenge", None):
        headers["WWW-Authenticate"] = challenge
    if exc.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request.failed", code=exc.code, path=request.path, cause=cause_of(exc))
    return problem_response(request, exc.http_status, exc.code, exc.detail, headers=headers)


def cause_of(exc: ClarionError) -> str:
    """Why, for a log: which variable is wrong if it is Redis that refuses us."""
    return redis_reason(exc) if redis_refusal_of(exc) else repr(exc.__cause__)


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
        code = PLAIN_CODES.get(exc.status_code, "bad_request")
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


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Django's ``CSRF_FAILURE_VIEW``."""
    log.warning("csrf.failed", path=request.path, reason=reason)
    if wants_problem(request):
        return error_response(request, CsrfFailed())
    return refuse(request, 403, "This form is too old or came from elsewhere: go back, reload, and try again.")
