"""http_api.env: what only this service needs."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from http_api.env import HttpApiEnv

GOOD = {
    "secret_key": "s" * 40,
    "token_secret": "t" * 40,
    "DATABASE_URL": "sqlite:////tmp/x",
    "redis_url": "redis://redis",
    "public_url": "https://push.example",
}


@pytest.mark.parametrize(
    ("public_url", "hosts"),
    [
        ("https://push.example", ["push.example"]),
        ("https://push.example:8443", ["push.example"]),
        ("http://[::1]:8080", ["[::1]", "127.0.0.1", "localhost"]),
        ("http://192.0.2.1:8080", ["192.0.2.1"]),
    ],
)
def test_host_names_hold_the_public_one(public_url: str, hosts: list[str]) -> None:
    """Django compares hosts without their port; production knows no local name, unless it is the public one."""
    env = HttpApiEnv(**{**GOOD, "public_url": public_url})
    assert env.host_names == hosts
    assert len(env.origins) == len(hosts)


def test_host_names_hold_what_the_environment_adds() -> None:
    """Names inside a network are added by the environment, local ones by development."""
    env = HttpApiEnv(**GOOD, allowed_hosts="api, api.internal,", environment="development")
    assert env.host_names == ["push.example", "api", "api.internal", "127.0.0.1", "localhost", "[::1]"]


@pytest.mark.parametrize(
    "change",
    [
        {"http_bind": "8000"},
        {"http_bind": "localhost:port"},
        {"http_workers": 0},
        {"http_threads": 1000},
        {"http_body_max_bytes": 1},
        {"http_graceful_timeout_s": 0},
    ],
    ids=str,
)
def test_a_wrong_value_is_refused(change: dict[str, object]) -> None:
    """Each variable is bounded."""
    with pytest.raises(ValidationError):
        HttpApiEnv(**{**GOOD, **change})  # type: ignore[arg-type]
