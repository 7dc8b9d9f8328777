"""A container that is told nonsense ends at once and says what; one whose Redis or database is away waits."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.support.containers import SERVICES, Deployment, docker, image
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("images")]

ENDS_WITHIN_S: Final = 5
GOOD: Final = {
    "CLARION_SECRET_KEY": "s" * 40,
    "CLARION_TOKEN_SECRET": "t" * 40,
    "DATABASE_URL": "postgres://clarion:password@postgres/clarion",
    "CLARION_REDIS_URL": "redis://redis:6379",
    "CLARION_PUBLIC_URL": "https://push.example",
}
UNKNOWN_OPTION: Final = '[[channel.namespaces]]\nname = "chat"\nhistory_sise = 5\n'

FAULTS: Final[dict[str, tuple[dict[str, str], list[str]]]] = {
    "missing secret": ({"CLARION_SECRET_KEY": ""}, ["CLARION_SECRET_KEY"]),
    "wrong database": ({"DATABASE_URL": "mongo://x"}, ["DATABASE_URL"]),
    "another database": ({"DATABASE_URL": "mysql://clarion:password@mysql/clarion"}, ["DATABASE_URL"]),
    "wrong option": ({"DATABASE_URL": "postgres://clarion@postgres/clarion?sslmod=on"}, ["DATABASE_URL"]),
    "unknown option": ({"CLARION_CONFIG": "/etc/clarion/clarion.toml"}, ["CLARION_CONFIG"]),
    "development secret": ({"CLARION_SECRET_KEY": "dev-" + "s" * 40}, ["CLARION_SECRET_KEY"]),
    "all at once": (
        {
            "CLARION_SECRET_KEY": "",
            "DATABASE_URL": "mongo://x",
            "CLARION_PUBLIC_URL": "nonsense",
            "CLARION_CONFIG": "/etc/clarion/clarion.toml",
        },
        ["CLARION_SECRET_KEY", "DATABASE_URL", "CLARION_PUBLIC_URL", "CLARION_CONFIG"],
    ),
}


def run(service: str, env: Mapping[str, str], *mounts: str, network: str = "none") -> tuple[int, list[str], float]:
    """Run an image as Compose would; return exit code, what it said, and how long it took."""
    words = [word for name, value in env.items() if value for word in ("-e", f"{name}={value}")]
    volumes = [word for mount in mounts for word in ("-v", mount)]
    flags = ["--rm", "--read-only", "--cap-drop", "ALL", "--tmpfs", "/tmp", "--network", network]
    began = time.monotonic()
    done = docker("run", *flags, *words, *volumes, image(service), check=False, timeout_s=60)
    return done.returncode, (done.stdout + done.stderr).splitlines(), time.monotonic() - began


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("service", SERVICES)
def test_service_refuses_nonsense(service: str, fault: str, tmp_path: Path) -> None:
    """It ends within 5 s with code 78 and says one line a problem, with the variable's name."""
    changes, names = FAULTS[fault]
    toml = tmp_path / "clarion.toml"
    toml.write_text(UNKNOWN_OPTION)
    toml.chmod(0o644)
    code, lines, seconds = run(service, GOOD | changes, f"{toml}:/etc/clarion/clarion.toml:ro")
    assert code == 78, lines
    assert seconds < ENDS_WITHIN_S
    assert len(lines) == len(names), lines
    for line, name in zip(sorted(lines), sorted(names), strict=True):
        assert line.startswith(f"configuration: {name}: "), lines


POSTGRES_REFUSES: Final = 'configuration: DATABASE_URL: password authentication failed for user "clarion"'
REDIS_REFUSES: Final = (
    "configuration: CLARION_REDIS_URL: redis:6379: WRONGPASS invalid username-password pair or user is disabled"
)
WRONG: Final = {
    "DATABASE_URL": "postgres://clarion:hunter2@postgres/clarion",
    "CLARION_REDIS_URL": "redis://:hunter2@redis:6379",
}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["DATABASE_URL"], [POSTGRES_REFUSES]),
        (["CLARION_REDIS_URL"], [REDIS_REFUSES]),
        (["DATABASE_URL", "CLARION_REDIS_URL"], [POSTGRES_REFUSES, REDIS_REFUSES]),
    ],
    ids=["postgres", "redis", "both"],
)
@pytest.mark.parametrize("service", SERVICES)
def test_service_is_refused(running: Deployment, service: str, wrong: list[str], said: list[str]) -> None:
    """A password that PostgreSQL or Redis says is wrong ends it as soon, and says so: waiting mends nothing."""
    right = {
        "DATABASE_URL": (running.secrets / "database_url").read_text(),
        "CLARION_REDIS_URL": (running.secrets / "redis_url").read_text(),
    }
    env = GOOD | right | {name: WRONG[name] for name in wrong}
    code, lines, seconds = run(service, env, network=f"{running.project}_inner")
    assert code == 78, lines
    assert seconds < ENDS_WITHIN_S
    assert [line for line in lines if line.startswith("configuration: ")] == said
    assert "hunter2" not in "".join(lines)


def test_nginx_refuses_nonsense() -> None:
    """So does nginx's image."""
    wrong = {
        "CLARION_PUBLIC_URL": "nonsense",
        "CLARION_NGINX_GATEWAY": "ws-gateway",
        "CLARION_NGINX_REQUESTS_PER_S": "many",
        "CLARION_NGINX_TLS_KEY": "/run/secrets/none",
        "CLARION_TRUSTED_PROXIES": "10.0.0.0/8; evil",
    }
    code, lines, seconds = run("nginx", wrong)
    assert code == 78, lines
    assert seconds < ENDS_WITHIN_S
    told = {line.split(": ")[1] for line in lines if line.startswith("configuration: ")}
    assert told == wrong.keys() | {"CLARION_NGINX_TLS_CERTIFICATE"}
    assert len(lines) == len(told)


def ready(running: Deployment, service: str, port: int) -> dict[str, str]:
    """The checks of a container's readiness."""
    ask = (
        f"import http.client as h; c = h.HTTPConnection('127.0.0.1', {port}, timeout=4); "
        "c.request('GET', '/health/ready'); print(c.getresponse().read().decode())"
    )
    said = running.compose("exec", "-T", service, "python", "-c", ask, check=False).stdout
    checks: dict[str, str] = json.loads(said)["checks"] if said else {}
    return checks


def test_services_wait_for_redis_and_postgres(running: Deployment) -> None:
    """Started without Redis and PostgreSQL they stay up, say in /health/ready what they wait for, and then serve."""
    services = {"http-api": 8000, "ws-gateway": 9102, "notifier": 9103}
    running.compose("stop", *services, "redis", "postgres")
    ids = running.ids(*services)
    docker("start", *ids)
    for service, port in services.items():
        checks = wait_until(lambda s=service, p=port: ready(running, s, p), what=f"{service} answers")  # type: ignore[misc]
        wanted = {"redis"} if service == "ws-gateway" else {"redis", "database"}
        assert {name for name, said in checks.items() if said != "ok"} >= wanted, (service, checks)
    waiting = {"http-api": "readiness.changed", "ws-gateway": "redis.unreachable", "notifier": "worker.waiting"}
    for service, event in waiting.items():
        wait_until(lambda s=service, e=event: e in running.logs(s), what=f"{service} logs {event}")  # type: ignore[misc]
    assert {each["State"]["Running"] for each in running.inspected(*services)} == {True}
    assert {each["RestartCount"] for each in running.inspected(*services)} == {0}
    running.up()
    running.wait_smoke()
