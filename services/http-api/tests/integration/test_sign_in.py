"""Signing in and out, by form and by JSON, and what a session is worth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from .http_service import PASSWORD, Answer, Browser, HttpService

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def post_form(browser: Browser, path: str, **fields: str) -> Answer:
    """Send a form as the page does, with its hidden CSRF token."""
    fields = {"csrfmiddlewaretoken": browser.cookies.get("clarion_csrf", ""), **fields}
    return browser.request("POST", path, urlencode(fields), headers=FORM)


def test_sign_in_by_json(service: HttpService, browser: Browser) -> None:
    """200 with the user; /me knows them from then on; the session's cookie is out of scripts' reach."""
    assert browser.request("GET", "/api/v1/me").json() == {"user": None}
    answer = browser.sign_in("ada")
    assert (answer.status, answer.json()) == (200, {"user": {"id": service.users["ada"], "username": "ada"}})
    cookies = [value for name, value in answer.headers.items() if name == "set-cookie"]
    assert cookies
    assert browser.request("GET", "/api/v1/me").json() == {
        "user": {"id": service.users["ada"], "username": "ada", "is_staff": False}
    }


@pytest.mark.parametrize(
    "document",
    [
        {"username": "ada", "password": "wrong"},
        {"username": "nobody", "password": PASSWORD},
        {"username": "ada"},
        {"username": "ada", "password": ""},
        {"username": 5, "password": ["x"]},
        {"username": "ada\u0000", "password": PASSWORD},
        {"username": "a" * 1000, "password": "b" * 100_000},
        {},
        [],
    ],
    ids=lambda document: str(document)[:40],
)
def test_a_wrong_sign_in_is_one_answer(browser: Browser, document: Any) -> None:
    """Whatever was wrong, 401 sign_in_failed: it is not said which names exist."""
    browser.request("GET", "/api/v1/me")
    answer = browser.post("/sign-in", document)
    assert (answer.status, answer.code) == (401, "sign_in_failed")
    assert answer.headers["www-authenticate"]
    assert browser.request("GET", "/api/v1/me").json() == {"user": None}


def test_a_failed_sign_in_is_logged_without_what_was_typed(service: HttpService, browser: Browser) -> None:
    """An event, but neither name nor password: people type one for the other."""
    browser.sign_in("hunter2-as-name", "hunter2-as-password")
    assert "signin.failed" in service.log
    assert "hunter2" not in service.log


def test_malformed_json_is_no_sign_in(browser: Browser) -> None:
    """400 json_malformed."""
    browser.request("GET", "/api/v1/me")
    headers = {"Content-Type": "application/json", "X-CSRFToken": browser.cookies["clarion_csrf"]}
    answer = browser.request("POST", "/sign-in", b"{", headers=headers)
    assert (answer.status, answer.code) == (400, "json_malformed")


def test_sign_in_reads_no_large_json(browser: Browser) -> None:
    """413 body_too_large far below the API's own limit: who sends this has shown no credential yet."""
    browser.request("GET", "/api/v1/me")
    answer = browser.post("/sign-in", [[]] * 100_000)
    assert (answer.status, answer.code) == (413, "body_too_large")


def test_sign_in_needs_the_csrf_token(service: HttpService) -> None:
    """Nobody is signed in, as someone else, by a foreign page."""
    answer = service.post("/sign-in", {"username": "ada", "password": PASSWORD})
    assert (answer.status, answer.code) == (403, "csrf_failed")
    page = service.request("POST", "/sign-in", urlencode({"username": "ada", "password": PASSWORD}), headers=FORM)
    assert page.status == 403
    assert page.headers["content-type"].startswith("text/html")


def test_sign_in_makes_a_new_session(browser: Browser) -> None:
    """The session's id and the CSRF token change: one that was planted before is worth nothing after."""
    browser.sign_in("ada")
    first = dict(browser.cookies)
    browser.sign_in("ada")
    assert browser.cookies["clarion_session"] != first["clarion_session"]
    assert browser.cookies["clarion_csrf"] != first["clarion_csrf"]
    planted = "a" * 32
    browser.cookies["clarion_session"] = planted
    browser.sign_in("root")
    assert browser.cookies["clarion_session"] != planted


def test_sign_in_by_form(browser: Browser) -> None:
    """The page has the form; a good one leads to ``next``, a wrong one to the page again with 401."""
    page = browser.request("GET", "/sign-in?next=/%3Fchannel%3Dchat:a")
    assert page.status == 200
    for name in ("username", "password", "next", "csrfmiddlewaretoken"):
        assert f'name="{name}"'.encode() in page.body
    wrong = post_form(browser, "/sign-in", username="ada", password="wrong", next="/?channel=chat:a")
    assert wrong.status == 401
    assert b"password is wrong" in wrong.body
    assert b'value="ada"' in wrong.body
    assert b'value="wrong"' not in wrong.body
    right = post_form(browser, "/sign-in", username="ada", password=PASSWORD, next="/?channel=chat:a")
    assert (right.status, right.headers["location"]) == (302, "/?channel=chat:a")
    assert browser.request("GET", "/sign-in").status == 302, "who is signed in goes on"


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"]
)
def test_next_stays_on_this_origin(browser: Browser, target: str) -> None:
    """Signing in leads nobody away."""
    browser.request("GET", "/sign-in")
    answer = post_form(browser, "/sign-in", username="ada", password=PASSWORD, next=target)
    assert (answer.status, answer.headers["location"]) == (302, "/")


@pytest.mark.parametrize("is_json", [True, False])
def test_sign_out_ends_the_session(browser: Browser, is_json: bool) -> None:
    """The session is gone on the server: its old cookie is worth nothing."""
    browser.sign_in("ada")
    old = browser.cookies["clarion_session"]
    answer = browser.post("/sign-out") if is_json else post_form(browser, "/sign-out")
    assert answer.status == (200 if is_json else 302)
    browser.cookies["clarion_session"] = old
    assert browser.request("GET", "/api/v1/me").json() == {"user": None}
    assert browser.request("GET", "/sign-out").status == 405, "a link signs nobody out"


@pytest.mark.parametrize(("target", "location"), [("/lab/", "/lab/"), ("//evil.example", "/"), ("", "/")])
def test_sign_out_leads_back_to_the_page(browser: Browser, target: str, location: str) -> None:
    """The form's ``next``, if it is a path of this origin; else the console."""
    browser.sign_in("ada")
    answer = post_form(browser, "/sign-out", next=target)
    assert (answer.status, answer.headers["location"]) == (302, location)


def test_an_inactive_user_is_signed_out_of_everything(service: HttpService, browser: Browser) -> None:
    """Deactivated: the running session is no session any more, and there is no new one."""
    code = (
        "import django, sys; django.setup(); from django.contrib.auth.models import User; "
        "User.objects.create_user('eve', password=sys.argv[1]) if sys.argv[2] == 'make' else "
        "User.objects.filter(username='eve').update(is_active=False)"
    )
    assert service.run("-c", code, PASSWORD, "make").returncode == 0
    assert browser.sign_in("eve").status == 200
    assert service.run("-c", code, PASSWORD, "end").returncode == 0
    assert browser.request("GET", "/api/v1/me").json() == {"user": None}
    assert browser.post("/api/v1/tokens", {}).status == 401
    assert browser.sign_in("eve").status == 401


def test_a_session_outlives_a_rotation_of_the_secret_key(
    start_service: Callable[..., HttpService], shared_redis_url: str
) -> None:
    """With the old key among the fallbacks a person stays signed in, and is signed in by the new one from then on."""
    old, new = ("dev-" + letter * 40 for letter in "on")
    service = start_service(shared_redis_url, CLARION_SECRET_KEY=old)
    browser = Browser(service)
    browser.sign_in("ada")
    for key, fallbacks in ((old, new), (new, old), (new, "")):
        service.stop()
        service.env |= {"CLARION_SECRET_KEY": key, "CLARION_SECRET_KEY_FALLBACKS": fallbacks}
        service.start()
        assert browser.request("GET", "/api/v1/me").json()["user"]["username"] == "ada", (key, fallbacks)
