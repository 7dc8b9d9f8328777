"""Pages, probes, static files and what stands around every answer."""

from __future__ import annotations

import json
import socket
import time
from urllib.parse import urlencode

import pytest

from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

from .conftest import StartService
from .http_service import PASSWORD, Browser, HttpService


def test_unknown_paths_are_404_in_the_callers_language(service: HttpService) -> None:
    """A problem document under /api/ and for whoever asks for JSON; a page for a browser."""
    assert service.request("GET", "/api/v1/nothing").code == "not_found"
    assert service.post("/api/v1/tokens/", {}).code == "not_found"
    assert service.request("GET", "/nothing", headers={"Accept": "application/json"}).code == "not_found"
    page = service.request("GET", "/nothing", headers={"Accept": "text/html,*/*"})
    assert page.status == 404
    assert page.headers["content-type"].startswith("text/html")
    assert b"Error 404" in page.body


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "a b"])
def test_a_foreign_host_is_400(service: HttpService, host: str) -> None:
    """A Host header that is not ours is refused: a document, or a page, and one line of the log, no error."""
    before = len(service.log)
    answer = service.request("GET", "/api/v1/me", headers={"Host": host})
    assert (answer.status, answer.code) == (400, "host_not_allowed")
    page = service.request("GET", "/sign-in", headers={"Host": host, "Accept": "text/html"})
    assert (page.status, page.headers["content-type"]) == (400, "text/html; charset=utf-8")
    assert b"Error 400" in page.body
    for body in (answer.body, page.body):
        assert b"CLARION_PUBLIC_URL" in body
        assert host.encode() not in body
        assert b"127.0.0.1" not in body
    lines = [json.loads(line) for line in service.log[before:].splitlines()]
    said = [(line["level"], line["event"], line["host"]) for line in lines]
    assert said == [("warning", "request.refused", host)] * 2


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
@pytest.mark.parametrize("environment", ["development", "production"])
def test_a_loopback_url_has_three_names(start_service: StartService, name: str, environment: str) -> None:
    """Whichever a browser was given serves pages and takes forms; the policy of pages allows the sockets of each."""
    secrets = {"CLARION_SECRET_KEY": "8Zq-vN1x" * 8, "CLARION_TOKEN_SECRET": "p3Xw_r7K" * 8}
    service = start_service("redis://127.0.0.1:1", CLARION_ENVIRONMENT=environment, **secrets)
    headers = {"Host": f"{name}:{service.port}"}
    page = service.request("GET", "/sign-in", headers=headers)
    assert page.status == 200
    sockets = "'self'" if name == "[::1]" else f"ws://{name}:{service.port}"  # a policy cannot name an IPv6 address
    assert f" {sockets}" in page.headers["content-security-policy"].partition("connect-src")[2].partition(";")[0]
    token = page.cookies["clarion_csrf"]
    form = {**headers, "Cookie": f"clarion_csrf={token}", "X-CSRFToken": token}
    sent = {**form, "Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({"username": "ada", "password": PASSWORD})
    for origin, status in ((f"http://{name}:{service.port}", 302), (f"http://{name}:{service.port + 1}", 403)):
        assert service.request("POST", "/sign-in", body, headers={**sent, "Origin": origin}).status == status


def test_a_production_has_no_local_name(start_service: StartService) -> None:
    """Its public URL is no loopback name: neither Host nor policy knows one."""
    secrets = {"CLARION_SECRET_KEY": "8Zq-vN1x" * 8, "CLARION_TOKEN_SECRET": "p3Xw_r7K" * 8}
    public = {"CLARION_ENVIRONMENT": "production", "CLARION_PUBLIC_URL": "https://push.example"}
    service = start_service("redis://127.0.0.1:1", **secrets, **public)
    for name in ("127.0.0.1", "localhost", "[::1]"):
        answer = service.request("GET", "/api/v1/me", headers={"Host": f"{name}:{service.port}"})
        assert (answer.status, answer.code) == (400, "host_not_allowed")
        assert b"push.example" not in answer.body
    page = service.request("GET", "/sign-in", headers={"Host": "push.example"})
    assert "connect-src 'self' wss://push.example;" in page.headers["content-security-policy"]


def test_probes_answer_for_any_host(service: HttpService) -> None:
    """A probe calls by address: liveness says that we are there, readiness what we reach."""
    headers = {"Host": "10.1.2.3:8000"}
    live = service.request("GET", "/health/live", headers=headers)
    assert (live.status, live.json()) == (200, {"status": "ok"})
    ready = service.request("GET", "/health/ready", headers=headers)
    checks = {"database": "ok", "redis": "ok", "migrations": "ok"}
    assert (ready.status, ready.json()) == (200, {"status": "ok", "checks": checks})
    assert "set-cookie" not in ready.headers
    assert service.request("POST", "/health/live").status == 405
    assert service.request("GET", "/health/other").status == 404


def test_readiness_tells_what_is_away(start_service: StartService) -> None:
    """Without Redis and without tables: 503, each check for itself; liveness stays."""
    service = start_service("redis://127.0.0.1:1", seed=False)
    ready = service.request("GET", "/health/ready")
    assert ready.status == 503
    assert ready.json() == {
        "status": "unavailable",
        "checks": {"database": "ok", "redis": "unavailable", "migrations": "migrations are missing"},
    }
    assert service.request("GET", "/health/live").status == 200


def test_http_api_stays_ready_when_it_loses_redis(start_service: StartService, redis_server: RedisServer) -> None:
    """A probe is told what is away, and sends callers: what waits in the outbox is taken, people sign in."""
    service = start_service(redis_server.url)
    wait_until(lambda: service.request("GET", "/health/ready").status == 200, what="all that it needs was there")
    redis_server.stop()
    ready = service.request("GET", "/health/ready")
    checks = {"database": "ok", "redis": "unavailable", "migrations": "ok"}
    assert (ready.status, ready.json()) == (200, {"status": "ok", "checks": checks})
    assert '"readiness.changed"' in service.log
    notification = {"users": ["7"], "title": "Later", "body": "A row waits for Redis."}
    assert service.post("/api/v1/notifications", notification, key="notify").status == 202
    assert Browser(service).sign_in("ada").status == 200
    assert service.publish("chat:a").code == "layer_unavailable"


def test_http_api_says_which_variable_redis_refuses(start_service: StartService, redis_server: RedisServer) -> None:
    """A password that is replaced ends no process; the log names the variable, the answers do not."""
    service = start_service(redis_server.url)
    wait_until(lambda: _redis_answer(service) == "ok", what="Redis is there")
    with redis_server.client() as client:
        client.config_set("requirepass", "another")
        client.client_kill_filter(_type="normal", skipme=True)
        wait_until(lambda: _redis_answer(service) == "unavailable", what="Redis is missed")
        said = '"reason": "CLARION_REDIS_URL: NOAUTH Authentication required"'
        wait_until(lambda: _redis_answer(service) != "ok" and said in service.log, what="the log names the variable")
        wait_until(lambda: _names_variable(service), what="a request's log line names it, too")
        client.config_set("requirepass", "")
    wait_until(lambda: service.publish("chat:a").status == 202, what="it is taken back")


def _redis_answer(service: HttpService) -> str:
    return str(service.request("GET", "/health/ready").json()["checks"]["redis"])


def _names_variable(service: HttpService) -> bool:
    answer = service.publish("chat:a")
    assert answer.code == "layer_unavailable"
    assert b"CLARION" not in answer.body
    service.post("/api/publish", {"channel": "chat:a", "data": 1}, key="publish")
    lines = [json.loads(line) for line in service.log.splitlines()]
    named = {line["event"] for line in lines if line.get("cause", "").startswith("CLARION_REDIS_URL: NOAUTH")}
    return named >= {"request.failed", "server_api.failed"}


def test_http_api_waits_for_its_first_redis(start_service: StartService) -> None:
    """One that has never reached Redis, perhaps at a wrong address, is sent nobody."""
    service = start_service("redis://127.0.0.1:1")
    ready = service.request("GET", "/health/ready")
    checks = {"database": "ok", "redis": "unavailable", "migrations": "ok"}
    assert (ready.status, ready.json()) == (503, {"status": "unavailable", "checks": checks})


def test_a_database_that_is_not_migrated_or_away_is_503(start_service: StartService) -> None:
    """No table: the API says database_unavailable with Retry-After, and nothing of SQL."""
    service = start_service("redis://127.0.0.1:1", seed=False)
    answer = service.publish("chat:a", key="clk_x")
    assert (answer.status, answer.code) == (503, "database_unavailable")
    assert answer.headers["retry-after"] == "1"
    assert b"apikey" not in answer.body


def test_readiness_waits_for_nobody(start_service: StartService) -> None:
    """A database that accepts connections and then says nothing: 503 within three seconds, again and again."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as black_hole:
        port = black_hole.getsockname()[1]
        service = start_service(
            f"redis://127.0.0.1:{port}", seed=False, DATABASE_URL=f"postgres://clarion@127.0.0.1:{port}/clarion"
        )
        for _ in range(3):
            start = time.monotonic()
            ready = service.request("GET", "/health/ready")
            assert time.monotonic() - start < 3
            assert ready.status == 503
            assert set(ready.json()["checks"].values()) <= {"no answer", "unavailable"}
            assert service.request("GET", "/health/live").status == 200


def test_pages_say_what_a_browser_may_do(service: HttpService) -> None:
    """Only this origin's scripts and sockets; no frames, no sniffing, no referrer elsewhere."""
    page = service.request("GET", "/sign-in")
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert f"connect-src 'self' ws://127.0.0.1:{service.port} ws://localhost:{service.port};" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "same-origin"
    assert page.headers["cross-origin-opener-policy"] == "same-origin"
    assert service.request("GET", "/api/v1/me").headers["cache-control"] == "no-store"


def test_cookies_travel_over_https_alone_in_production(start_service: StartService) -> None:
    """Secure and SameSite=Lax on both, HttpOnly on the session's; X-Forwarded-Proto is what nginx saw."""
    service = start_service(
        "redis://127.0.0.1:1",
        CLARION_ENVIRONMENT="production",
        CLARION_SECRET_KEY="8Zq-vN1x" * 8,
        CLARION_TOKEN_SECRET="p3Xw_r7K" * 8,
        CLARION_PUBLIC_URL="https://push.example",
    )
    proxied = {"Host": "push.example", "X-Forwarded-Proto": "https"}
    page = service.request("GET", "/sign-in", headers=proxied)
    assert "Secure" in page.headers["set-cookie"]
    assert "SameSite=Lax" in page.headers["set-cookie"]
    token = page.cookies["clarion_csrf"]
    headers = {
        **proxied,
        "Cookie": f"clarion_csrf={token}",
        "X-CSRFToken": token,
        "Origin": "https://push.example",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    answer = service.request("POST", "/sign-in", urlencode({"username": "ada", "password": PASSWORD}), headers=headers)
    assert answer.status == 302
    assert "clarion_session" in answer.cookies
    assert {"Secure", "HttpOnly", "SameSite=Lax"} <= {part.strip() for part in answer.headers["set-cookie"].split(";")}
    foreign = service.request("POST", "/sign-in", "", headers={**headers, "Origin": "http://push.example"})
    assert foreign.status == 403, "the origin is the https one"


def test_static_files_are_served_and_checked_again(service: HttpService) -> None:
    """The admin's style comes from its package; a browser asks again and is told 304."""
    first = service.request("GET", "/static/admin/css/base.css")
    assert first.status == 200
    assert first.headers["content-type"].startswith("text/css")
    assert "max-age=0" in first.headers["cache-control"]
    again = service.request("GET", "/static/admin/css/base.css", headers={"If-None-Match": first.headers["etag"]})
    assert again.status == 304
    for path in ("/static/../http_api/env.py", "/static/%2e%2e/env.py", "/static/admin/"):
        assert service.request("GET", path).status == 404


def test_the_admin_is_for_staff(service: HttpService, browser: Browser) -> None:
    """Staff see every list; who is no staff is sent to the admin's sign-in."""
    browser.sign_in("ada")
    assert browser.request("GET", "/admin/").status == 302
    browser.sign_in("root")
    for name in ("", "auth/user/", "keys/apikey/", "keys/apikey/add/", "clarion_inbox/notification/",
                 "clarion_inbox/delivery/", "clarion_outbox/outboxmessage/"):  # fmt: skip
        page = browser.request("GET", f"/admin/{name}")
        assert page.status == 200, name
        assert service.keys["publish"].encode() not in page.body


def test_a_bug_shows_no_traceback(service: HttpService) -> None:
    """500 is a problem document that says nothing of the inside, for a caller and for a browser."""
    code = (
        "import django; django.setup()\n"
        "from django.test import Client\n"
        "from unittest.mock import patch\n"
        "client = Client(raise_request_exception=False, headers={'host': '127.0.0.1'})\n"
        "with patch('http_api.accounts.api.views.user_document', side_effect=ZeroDivisionError('secret')):\n"
        "    answer = client.get('/api/v1/me')\n"
        "print(answer.status_code, answer['Content-Type'], answer.content.decode())\n"
    )
    done = service.run("-c", code)
    assert done.stdout.startswith('500 application/problem+json {"type":"urn:clarion:problem:internal"'), done.stderr
    assert "secret" not in done.stdout
    assert "ZeroDivisionError: secret" in done.stderr, "but the log has it"
