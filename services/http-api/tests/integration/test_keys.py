"""API keys at the door: who is let in, who is not, and how that is said."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from .http_service import HttpService

PATHS = {
    "/api/v1/channels/chat:room/publications": ("publish", {"data": 1}),
    "/api/v1/tokens": ("control", {"user": "42"}),
    "/api/v1/notifications": ("notify", {"users": ["42"], "title": "t", "body": ""}),
}


@pytest.mark.parametrize("path", PATHS)
def test_a_call_without_a_key_is_401(service: HttpService, path: str) -> None:
    """No key, no session: 401 with a challenge, and nothing of the body is looked at."""
    answer = service.post(path, raw=b"{")
    assert (answer.status, answer.code) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == 'Bearer realm="clarion"'


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("key", ["clk_unknown", "nonsense", "", "clk_" + "ä" * 10, "x" * 5000])
def test_an_unknown_key_is_401(service: HttpService, path: str, key: str) -> None:
    """A key that is not known is refused, and said to be: the challenge says invalid_token."""
    answer = service.post(path, headers={"X-API-Key": key.encode().decode("latin-1")})
    assert (answer.status, answer.code) == (401, "key_invalid")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("scope", ["publish", "read", "control", "notify", "admin"])
def test_a_key_may_what_its_scope_says(service: HttpService, path: str, scope: str) -> None:
    """The right scope and admin pass; any other is 403 scope_missing, which names the scope that is needed."""
    needed, document = PATHS[path]
    answer = service.post(path, document, key=scope)
    if scope in {needed, "admin"}:
        assert answer.status in {201, 202}, answer.body
    else:
        assert (answer.status, answer.code) == (403, "scope_missing")
        assert needed in answer.json()["detail"]


@pytest.mark.parametrize("header", ["Authorization: Bearer", "Authorization: bearer", "X-API-Key:"])
def test_a_key_is_taken_in_either_header(service: HttpService, header: str) -> None:
    """``Authorization: Bearer``, in any case, or ``X-API-Key``."""
    name, _, scheme = header.partition(":")
    value = f"{scheme.strip()} {service.keys['publish']}".strip()
    assert service.publish("chat:room", key=None, headers={name: value}).status == 202


def test_another_authorization_scheme_is_no_key(service: HttpService) -> None:
    """Basic credentials are not a key; beside them X-API-Key still counts."""
    basic = {"Authorization": "Basic YTpi"}
    assert service.publish("chat:room", key=None, headers=basic).code == "unauthorized"
    both = {**basic, "X-API-Key": service.keys["publish"]}
    assert service.publish("chat:room", key=None, headers=both).status == 202


def test_a_revoked_key_is_refused_at_once(service: HttpService) -> None:
    """The very next request after a revocation is 401, in every thread."""
    made = service.run("-m", "http_api", "api_key_create", "--name", "short-lived", "--scopes", "publish")
    key = made.stdout.strip()
    assert all(service.publish("chat:room", key=key).status == 202 for _ in range(10))
    revoke = (
        "import django; django.setup(); from http_api.keys.models import ApiKey; "
        "from http_api.keys.services import key_revoke; assert key_revoke(ApiKey.objects.get(name='short-lived'))"
    )
    done = service.run("-c", revoke)
    assert done.returncode == 0, done.stderr
    assert {service.publish("chat:room", key=key).code for _ in range(10)} == {"key_invalid"}


def test_api_key_create_prints_the_key_alone(service: HttpService) -> None:
    """stdout holds the key and nothing else; the log says that it was made, without it."""
    made = service.run("-m", "http_api", "api_key_create", "--name", "script", "--scopes", "publish,read")
    assert made.returncode == 0, made.stderr
    key = made.stdout.removesuffix("\n")
    assert key.startswith("clk_")
    assert len(key) == 47
    assert "key.created" in made.stderr
    assert key not in made.stderr
    assert service.publish("chat:room", key=key).status == 202


def test_api_key_create_keeps_a_valid_key_in_its_file(service: HttpService, tmp_path: Path) -> None:
    """With --file a second call prints the same key; the file is for its owner's eyes."""
    file = tmp_path / "key"
    command = ["-m", "http_api", "api_key_create", "--name", "dev", "--scopes", "admin", "--file", str(file)]
    first, second = service.run(*command), service.run(*command)
    assert first.stdout == second.stdout == file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("clk_gone\n")
    assert service.run(*command).stdout not in {first.stdout, "clk_gone\n"}


def test_api_key_create_refuses_an_unknown_scope(service: HttpService) -> None:
    """A misspelt scope makes no key, and the ones that exist are named."""
    done = service.run("-m", "http_api", "api_key_create", "--name", "x", "--scopes", "pubish")
    assert done.returncode != 0
    assert "publish, read, control, notify, admin" in done.stderr
    assert "Traceback" not in done.stderr
