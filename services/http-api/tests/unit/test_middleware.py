"""http_api.middleware: what a request and its answer carry."""

from __future__ import annotations

import pytest
import structlog
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from http_api.middleware import RequestIdMiddleware


def answer_with_bound(request: HttpRequest) -> HttpResponse:
    """Answer with what log events would carry, and bind something as a view may."""
    bound = structlog.contextvars.get_contextvars()
    structlog.contextvars.bind_contextvars(user="ada")
    return HttpResponse(repr(sorted(bound)), headers={"X-Bound": str(bound["request_id"])})


@pytest.mark.parametrize("given", ["0123abcd", "a.b_c-d.e", "x" * 64])
def test_a_request_id_is_taken_and_bound(given: str) -> None:
    """The id of nginx is the one in the logs and in the answer."""
    response = RequestIdMiddleware(answer_with_bound)(RequestFactory().get("/", HTTP_X_REQUEST_ID=given))
    assert response.headers["X-Request-ID"] == response.headers["X-Bound"] == given


@pytest.mark.parametrize("given", ["", "short", "x" * 65, "a b c d e f", 'abcdefgh"', "abcdefgh\n", "ä" * 10])
def test_a_strange_request_id_is_replaced(given: str) -> None:
    """What could confuse a log or a header is not taken."""
    response = RequestIdMiddleware(answer_with_bound)(RequestFactory().get("/", HTTP_X_REQUEST_ID=given))
    assert response.headers["X-Request-ID"] != given
    assert len(response.headers["X-Request-ID"]) == 32


def test_nothing_bound_outlives_its_request() -> None:
    """A thread's next request starts with its id alone."""
    middleware = RequestIdMiddleware(answer_with_bound)
    middleware(RequestFactory().get("/"))
    assert middleware(RequestFactory().get("/")).content == b"['request_id']"
