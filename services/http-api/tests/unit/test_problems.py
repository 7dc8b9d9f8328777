"""http_api.rest.problems: one form for every error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from channels.exceptions import MessageTooLarge
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest
from django.test import RequestFactory
from rest_framework import exceptions
from rest_framework.request import Request

from clarion import errors
from clarion.pages.problems import CONTENT_TYPE
from http_api import errors as own_errors
from http_api.accounts.api.views import MeView
from http_api.rest.problems import error_response, exception_handler


def all_errors() -> list[type[errors.ClarionError]]:
    """Every error of the tree that is raised with a text of its own."""
    found, queue = [], [errors.ClarionError]
    while queue:
        kind = queue.pop()
        queue += kind.__subclasses__()
        found.append(kind)
    return [
        kind
        for kind in found
        if kind is not errors.ConfigInvalid and kind.__module__.startswith(("clarion", "http_api"))
    ]


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_has_its_problem_document(kind: type[errors.ClarionError]) -> None:
    """Type, title, status, detail, code and request id; 401 has a challenge, what is temporary a Retry-After."""
    request = RequestFactory().get("/", HTTP_X_REQUEST_ID="0123456789")
    response = error_response(request, kind())
    document = json.loads(response.content)
    assert response.headers["Content-Type"] == CONTENT_TYPE
    assert document["status"] == response.status_code == kind.http_status
    assert document["type"] == f"urn:clarion:problem:{kind.code}"
    assert document["code"] == kind.code
    assert document["detail"]
    assert document["title"]
    assert document["request_id"] == "0123456789"
    assert ("Retry-After" in response.headers) == kind.temporary
    if kind.__module__ == own_errors.__name__:
        assert ("WWW-Authenticate" in response.headers) == (kind.http_status == 401)


def test_codes_are_unique_but_for_what_refines_another() -> None:
    """A code names one error, or one that is a kind of it."""
    for kind in all_errors():
        for other in all_errors():
            if kind is not other and kind.code == other.code:
                assert issubclass(kind, other) or issubclass(other, kind), (kind, other)


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (errors.NameInvalid("x"), 400, "name_invalid"),
        (OperationalError("could not connect to hunter2"), 503, "database_unavailable"),
        (InterfaceError("connection closed hunter2"), 503, "database_unavailable"),
        (MessageTooLarge(), 413, "publication_too_large"),
        (PermissionDenied("hunter2"), 403, "permission_denied"),
        (Http404("hunter2"), 404, "not_found"),
        (exceptions.NotFound(), 404, "not_found"),
        (exceptions.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
        (exceptions.UnsupportedMediaType("text/plain"), 415, "media_type_unsupported"),
        (exceptions.Throttled(3), 429, "too_many_requests"),
        (exceptions.ParseError(), 400, "bad_request"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_exception_handler_maps_what_a_view_raises(raised: Exception, status: int, code: str) -> None:
    """A stable code each, and nothing of the inside."""
    response = handled(raised)
    assert response is not None
    assert (response.status_code, json.loads(response.content)["code"]) == (status, code)
    assert b"hunter2" not in response.content


def test_exception_handler_leaves_a_bug_to_django() -> None:
    """None is raised again: Django logs it and answers 500."""
    assert handled(ZeroDivisionError()) is None


def test_wrong_fields_are_told_by_json_pointer() -> None:
    """Nested details become pointers, ``~`` and ``/`` escaped (RFC 6901)."""
    nested = {"users": {3: ["bad"]}, "a/b~c": ["worse"], "non_field_errors": ["worst"]}
    response = handled(exceptions.ValidationError(nested))
    assert response is not None
    told = [(error["pointer"], error["detail"]) for error in json.loads(response.content)["errors"]]
    assert told == [("#/users/3", "bad"), ("#/a~1b~0c", "worse"), ("#", "worst")]


def handled(raised: Exception) -> Any:
    """What the handler makes of an exception."""
    request: HttpRequest = RequestFactory().get("/api/v1/me")
    view = MeView()
    return exception_handler(raised, {"request": Request(request), "view": view})
