"""docs/runbooks/secrets.md, "In Compose": its commands as they stand there, one secret after the other."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Final

import httpx
import pytest

from tests.support.containers import ROOT, Deployment, deployment

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("images")]

_PAGE: Final = (ROOT / "docs" / "runbooks" / "secrets.md").read_text().partition("\n## In Compose\n")[2]
FUNCTIONS, REDIS, POSTGRES, GRAFANA = re.findall(r"^```sh\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def own() -> Iterator[Deployment]:
    """A deployment whose secrets nobody else needs."""
    with deployment() as made:
        yield made


def run(on: Deployment, script: str) -> None:
    """Run commands of the page, after its functions."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", FUNCTIONS + script],
        cwd=ROOT,
        env={**on.env, "COMPOSE_PROJECT_NAME": on.project},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def lets_in(on: Deployment, token: str) -> bool:
    """Whether a gateway accepts a token."""
    connect = {"id": 1, "connect": {"token": token}}
    with httpx.stream("POST", f"{on.url}/connection/http_stream", json=connect, trust_env=False, timeout=20) as answer:
        return '"connect":' in next(answer.iter_lines())


def test_token_secret(own: Deployment) -> None:
    """A token of the old secret is good while that is a fallback, and no longer."""
    token = own.token("somebody")
    run(own, 'secret_set CLARION_TOKEN_SECRET_FALLBACKS "$(secret_get CLARION_TOKEN_SECRET)"\n')
    run(own, 'secret_set CLARION_TOKEN_SECRET "$(openssl rand -hex 32)" && roll')
    own.wait_smoke()
    assert lets_in(own, token)
    run(own, 'secret_set CLARION_TOKEN_SECRET_FALLBACKS "" && roll')
    own.wait_smoke()
    assert not lets_in(own, token)
    assert lets_in(own, own.token("somebody"))


def test_redis_password(own: Deployment) -> None:
    """Redis takes the new one alone, and has kept what it had."""
    old = (own.secrets / "redis_password").read_text()
    assert own.publish("chat:kept", {"n": 1})
    own.redis_flush()
    run(own, REDIS)
    own.wait_smoke()
    assert (own.secrets / "redis_password").read_text() != old
    assert "WRONGPASS" in own.run_in("redis", "sh", "-c", f"redis-cli AUTH {old} 2>&1")
    with own.client() as client:
        kept = client.post("/api/history", json={"channel": "chat:kept", "limit": 5}).json()["result"]
    assert [each["data"] for each in kept["publications"]] == [{"n": 1}]


def test_postgres_password(own: Deployment) -> None:
    """The services sign in with the new one."""
    old = (own.secrets / "postgres_password").read_text()
    run(own, POSTGRES)
    own.wait_smoke()
    assert old not in (own.secrets / "database_url").read_text()
