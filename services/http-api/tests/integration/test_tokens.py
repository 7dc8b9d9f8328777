"""POST /api/v1/tokens: by an API key for anyone, by a session for oneself; /subscription: by an API key."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from clarion.namespaces import ClarionConfig
from clarion.tokens import TokenVerifier, token_verify

from .http_service import TOKEN_SECRET, Browser, HttpService


def test_a_key_mints_for_any_user(service: HttpService) -> None:
    """201 with a token that a gateway accepts, and its end in ISO 8601, UTC."""
    wanted = {"user": "42", "ttl_s": 60, "channels": ["chat:a", "#7"], "info": {"name": "Ada"}}
    answer = service.post("/api/v1/tokens", wanted, key="control")
    assert answer.status == 201, answer.body
    assert answer.headers["cache-control"] == "no-store"
    minted = answer.json()
    assert minted.keys() == {"token", "expires_at"}
    token = token_verify(TOKEN_SECRET, minted["token"])
    assert (token.user, token.channels, token.info) == ("42", ("chat:a", "#7"), {"name": "Ada"})
    assert minted["expires_at"].endswith("Z")
    assert datetime.fromisoformat(minted["expires_at"]) == datetime.fromtimestamp(token.expires_at, UTC)
    assert abs(token.expires_at - time.time() - 60) < 30


def test_a_token_lives_ten_minutes_unless_asked(service: HttpService) -> None:
    """The default lifetime is what may stand in a URL; "" is an anonymous client."""
    answer = service.post("/api/v1/tokens", {"user": ""}, key="control")
    token = token_verify(TOKEN_SECRET, answer.json()["token"])
    assert token.user == ""
    assert abs(token.expires_at - time.time() - 600) < 30


@pytest.mark.parametrize(
    ("document", "pointer", "code"),
    [
        ({}, "#/user", "required"),
        ({"user": 42}, "#/user", "name_invalid"),
        ({"user": None}, "#/user", "null"),
        ({"user": "a b"}, "#/user", "name_invalid"),
        ({"user": "a,b"}, "#/user", "name_invalid"),
        ({"user": "x" * 129}, "#/user", "name_invalid"),
        ({"user": "42", "ttl_s": 0}, "#/ttl_s", "min_value"),
        ({"user": "42", "ttl_s": 86_401}, "#/ttl_s", "max_value"),
        ({"user": "42", "ttl_s": "60"}, "#/ttl_s", "invalid"),
        ({"user": "42", "ttl_s": True}, "#/ttl_s", "invalid"),
        ({"user": "42", "ttl_s": 1.5}, "#/ttl_s", "invalid"),
        ({"user": "42", "ttl_s": 10**30}, "#/ttl_s", "max_value"),
        ({"user": "42", "channels": "chat:a"}, "#/channels", "not_a_list"),
        ({"user": "42", "channels": ["chat:a", "b c"]}, "#/channels/1", "name_invalid"),
        ({"user": "42", "channels": [f"chat:{n}" for n in range(101)]}, "#/channels", "max_length"),
        ({"user": "42", "info": "x" * 5000}, "#/info", "publication_too_large"),
        ({"user": "42", "info": 2**70}, "#/info", "data_invalid"),
        ({"user": "42", "ttl": 60}, "#/ttl", "unknown"),
    ],
)
def test_a_wrong_field_is_told(service: HttpService, document: Any, pointer: str, code: str) -> None:
    """400 with the pointer and the code of what is wrong."""
    answer = service.post("/api/v1/tokens", document, key="control")
    assert (answer.status, answer.code) == (400, "validation_failed")
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]


def test_a_signed_in_user_mints_for_themselves(service: HttpService, browser: Browser) -> None:
    """No body is needed; the token is the user's own."""
    assert browser.sign_in("ada").status == 200
    answer = browser.request("POST", "/api/v1/tokens", headers={"X-CSRFToken": browser.cookies["clarion_csrf"]})
    assert answer.status == 201, answer.body
    assert token_verify(TOKEN_SECRET, answer.json()["token"]).user == service.users["ada"]
    assert browser.post("/api/v1/tokens", {"ttl_s": 30, "user": service.users["ada"]}).status == 201


@pytest.mark.parametrize(
    ("document", "status", "code"),
    [
        ({"user": "1000000"}, 403, "permission_denied"),
        ({"user": ""}, 403, "permission_denied"),
        ({"channels": ["chat:secret"]}, 403, "permission_denied"),
        ({"info": {"name": "root"}}, 403, "permission_denied"),
        ({"ttl_s": 601}, 400, "validation_failed"),
        ({"tll_s": 60}, 400, "validation_failed"),
        ([], 400, "validation_failed"),
    ],
)
def test_a_signed_in_user_says_only_for_how_long(browser: Browser, document: Any, status: int, code: str) -> None:
    """Not for others, not which channels, not what others see, and for ten minutes at most."""
    browser.sign_in("ada")
    answer = browser.post("/api/v1/tokens", document)
    assert (answer.status, answer.code) == (status, code)


def test_a_session_needs_the_csrf_token(browser: Browser) -> None:
    """A cookie alone, which a foreign page could make a browser send, mints nothing."""
    browser.sign_in("ada")
    for token in ("", "x" * 32):
        answer = browser.post("/api/v1/tokens", {}, headers={"X-CSRFToken": token})
        assert (answer.status, answer.code) == (403, "csrf_failed")
    foreign = browser.post("/api/v1/tokens", {}, headers={"Origin": "https://evil.example"})
    assert (foreign.status, foreign.code) == (403, "csrf_failed")


def test_a_key_counts_before_the_session(service: HttpService, browser: Browser) -> None:
    """A bad key is refused even with a good session; a good one needs no CSRF token."""
    browser.sign_in("ada")
    bad = browser.post("/api/v1/tokens", {}, headers={"X-API-Key": "clk_bad"})
    assert (bad.status, bad.code) == (401, "key_invalid")
    good = browser.post(
        "/api/v1/tokens", {"user": "7"}, headers={"X-API-Key": service.keys["control"], "X-CSRFToken": ""}
    )
    assert token_verify(TOKEN_SECRET, good.json()["token"]).user == "7"


def test_a_key_mints_a_subscription_token(service: HttpService) -> None:
    """201 with a token for one user and one channel, which a gateway of the same configuration accepts."""
    wanted = {"user": "42", "channel": "chat:a", "ttl_s": 60, "info": {"role": "editor"}}
    answer = service.post("/api/v1/tokens/subscription", wanted, key="control")
    assert answer.status == 201, answer.body
    assert answer.headers["cache-control"] == "no-store"
    minted = answer.json()
    token = TokenVerifier(ClarionConfig(), TOKEN_SECRET).verify_subscription(minted["token"])
    assert (token.user, token.channel, token.info) == ("42", "chat:a", {"role": "editor"})
    assert datetime.fromisoformat(minted["expires_at"]) == datetime.fromtimestamp(token.expires_at, UTC)
    assert abs(token.expires_at - time.time() - 60) < 30
    own = service.post("/api/v1/tokens/subscription", {"user": "42", "channel": "#42"}, key="control")
    assert own.status == 201, own.body


@pytest.mark.parametrize(
    ("document", "pointer", "code"),
    [
        ({"user": "42"}, "#/channel", "required"),
        ({"channel": "chat:a"}, "#/user", "required"),
        ({"user": "42", "channel": "a b"}, "#/channel", "name_invalid"),
        ({"user": "42", "channel": 7}, "#/channel", "name_invalid"),
        ({"user": "42", "channel": "chat:a", "ttl_s": 86_401}, "#/ttl_s", "max_value"),
        ({"user": "42", "channel": "chat:a", "info": "x" * 5000}, "#/info", "publication_too_large"),
        ({"user": "42", "channel": "chat:a", "channels": ["chat:b"]}, "#/channels", "unknown"),
    ],
)
def test_a_wrong_field_of_a_subscription_token_is_told(
    service: HttpService, document: Any, pointer: str, code: str
) -> None:
    """400 with the pointer and the code of what is wrong."""
    answer = service.post("/api/v1/tokens/subscription", document, key="control")
    assert (answer.status, answer.code) == (400, "validation_failed")
    assert [(error["pointer"], error["code"]) for error in answer.json()["errors"]] == [(pointer, code)]


@pytest.mark.parametrize(
    ("channel", "status", "code"),
    [("nope:a", 404, "namespace_unknown"), ("plain", 404, "namespace_unknown"), ("#7", 403, "permission_denied")],
)
def test_no_subscription_token_for_a_channel_that_it_could_not_open(
    service: HttpService, channel: str, status: int, code: str
) -> None:
    """An undefined namespace, and another user's personal channel."""
    answer = service.post("/api/v1/tokens/subscription", {"user": "42", "channel": channel}, key="control")
    assert (answer.status, answer.code) == (status, code)


def test_subscription_tokens_are_for_services_only(service: HttpService, browser: Browser) -> None:
    """Who is signed in does not choose what they may subscribe to; a key needs the scope."""
    wanted = {"user": "42", "channel": "chat:a"}
    assert service.post("/api/v1/tokens/subscription", wanted, key="publish").status == 403
    browser.sign_in("ada")
    answer = browser.post("/api/v1/tokens/subscription", wanted)
    assert (answer.status, answer.code) == (401, "unauthorized")
