"""clarion.pages.problems: a document for programs, a page for people."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.core.exceptions import DisallowedHost
from django.http import Http404, HttpRequest
from django.test import RequestFactory
from pytest_django import Settings

from clarion.pages import problems
from clarion.pages.problems import bad_request, not_found, permission_denied, server_error, wants_problem


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/api/v1/x", {"HTTP_ACCEPT": "text/html"}, True),
        ("/x", {"HTTP_ACCEPT": "text/html,*/*"}, False),
        ("/x", {"HTTP_ACCEPT": "application/json"}, True),
        ("/x", {"CONTENT_TYPE": "application/json"}, True),
        ("/x", {}, False),
    ],
)
def test_wants_problem_knows_programs(path: str, headers: dict[str, str], expected: bool) -> None:
    """Programs get a document, browsers a page."""
    assert wants_problem(RequestFactory().get(path, **headers)) is expected


def test_server_error_has_a_page_that_needs_nothing() -> None:
    """Without a session or a database, the last error page is in the product's look and says what to quote."""
    request = RequestFactory().get("/", headers={"X-Request-ID": "abcdefgh"})
    response = server_error(request)
    assert response.status_code == 500
    assert "logged as abcdefgh" in response.content.decode()
    assert "<!doctype html>" in response.content.decode()


@pytest.mark.parametrize(
    ("handler", "status", "code"),
    [(bad_request, 400, "bad_request"), (permission_denied, 403, "permission_denied"), (not_found, 404, "not_found")],
)
def test_a_handler_answers_a_program_and_a_person(handler: Any, status: int, code: str) -> None:
    """A problem document with its code, or a page in the product's look; neither says what was raised."""
    program: HttpRequest = RequestFactory().get("/x", HTTP_ACCEPT="application/json", HTTP_X_REQUEST_ID="abcdefgh")
    document = handler(program, Http404("secret"))
    assert (document.status_code, document.headers["Content-Type"]) == (status, problems.CONTENT_TYPE)
    assert json.loads(document.content)["code"] == code
    assert json.loads(document.content)["request_id"] == "abcdefgh"
    page = handler(RequestFactory().get("/x"), Http404("secret"))
    assert page.status_code == status
    assert f"Error {status}" in page.content.decode()
    assert "Go to the console" in page.content.decode()
    assert "secret" not in page.content.decode() + document.content.decode()


def test_a_foreign_host_has_a_code_of_its_own() -> None:
    """Program and person are told that the address is wrong; neither what it was nor which ones are right."""
    exception = DisallowedHost("Invalid HTTP_HOST header: '<b>evil.example'. You may need to add it to ALLOWED_HOSTS.")
    sent = {"HTTP_HOST": "<b>evil.example"}
    document = bad_request(RequestFactory().get("/api/x", **sent), exception)
    assert (document.status_code, json.loads(document.content)["code"]) == (400, "host_not_allowed")
    page = bad_request(RequestFactory().get("/x", **sent), exception)
    assert page.status_code == 400
    assert "Host is not the one of CLARION_PUBLIC_URL" in page.content.decode()
    assert "<a" in page.content.decode()
    assert not re.search(r"""<a[^>]* href="/""", page.content.decode())  # it would lead to this page again
    assert "evil" not in page.content.decode() + document.content.decode()


def test_server_error_without_its_template_is_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last handler there is answers even if the template is what is at fault."""

    def broken(*_arguments: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(problems, "render_to_string", broken)
    response = server_error(RequestFactory().get("/", headers={"X-Request-ID": "abcdefgh"}))
    assert (response.status_code, response.headers["Content-Type"]) == (500, "text/plain; charset=utf-8")
    assert "logged as abcdefgh" in response.content.decode()


@pytest.mark.parametrize("is_on", [True, False])
def test_a_page_leads_to_the_lab_where_there_is_one(settings: Settings, is_on: bool) -> None:
    """The foot of every page, as the deployment has it."""
    settings.CLARION_LAB = is_on
    page = not_found(RequestFactory().get("/x"), Http404())
    assert ('href="/lab/"' in page.content.decode()) is is_on
