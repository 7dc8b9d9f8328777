"""clarion.pages.middleware: what a request and its answer carry."""

from __future__ import annotations

import pytest
import structlog
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from clarion.pages.middleware import RequestIdMiddleware, SecurityHeadersMiddleware, content_security_policy


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


def test_a_page_says_what_a_browser_may_do() -> None:
    """This origin's scripts and sockets alone, by the deployment's public URL."""
    answer = SecurityHeadersMiddleware(lambda _request: HttpResponse())(RequestFactory().get("/lab/"))
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "connect-src 'self' wss://push.example;" in policy
    assert "unsafe" not in policy
    assert "Cache-Control" not in answer.headers


def test_policy_names_no_ipv6_address() -> None:
    """A browser calls such a source invalid, on its console; the page's own origin is 'self' anyway."""
    named = content_security_policy(["http://127.0.0.1:8080", "http://localhost:8080", "http://[::1]:8080"])
    assert "connect-src 'self' ws://127.0.0.1:8080 ws://localhost:8080;" in named
    assert "connect-src 'self';" in content_security_policy(["http://[::1]:8080"])


def test_an_api_answer_is_not_cached_and_a_views_own_word_stands() -> None:
    """No policy for what no browser shows; what a view said is kept."""
    answer = SecurityHeadersMiddleware(lambda _request: HttpResponse())(RequestFactory().get("/api/v1/me"))
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Content-Security-Policy" not in answer.headers
    own = HttpResponse(headers={"Content-Security-Policy": "sandbox"})
    kept = SecurityHeadersMiddleware(lambda _request: own)(RequestFactory().get("/"))
    assert kept.headers["Content-Security-Policy"] == "sandbox"
