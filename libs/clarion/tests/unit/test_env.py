"""clarion.env: a service's environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

GOOD = {
    "CLARION_SECRET_KEY": "s" * 40,
    "CLARION_TOKEN_SECRET": "t" * 40,
    "DATABASE_URL": "postgres://clarion:hunter2@db/clarion",
    "CLARION_REDIS_URL": "redis://:hunter2@redis:6379",
    "CLARION_PUBLIC_URL": "https://push.example",
}
PROGRAM = "from clarion.env import *; env = env_load(ServiceEnv); print(env.environment, env.redis_urls, env)"


LAB = "from clarion.env import *; print(env_load(ServiceEnv).lab_enabled)"


def run(program: str = PROGRAM, **changes: str | None) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_good_environment_is_read_and_shows_no_secret() -> None:
    """Secrets do not appear when the environment is printed."""
    done = run(CLARION_REDIS_URL="redis://a:1, redis://b:2")
    assert done.returncode == 0, done.stderr
    assert "production ['redis://a:1', 'redis://b:2']" in done.stdout
    assert "s" * 40 not in done.stdout
    assert "t" * 40 not in done.stdout


def test_all_problems_are_told_at_once_with_the_variables_name() -> None:
    """One line a problem, exit code 78, no traceback, no value of a secret."""
    done = run(
        CLARION_SECRET_KEY="short", CLARION_REDIS_URL=None, DATABASE_URL="nonsense", CLARION_PUBLIC_URL="push.example/"
    )
    assert done.returncode == 78
    lines = done.stderr.splitlines()
    assert len(lines) == 4, done.stderr
    for name in ("CLARION_SECRET_KEY", "CLARION_REDIS_URL", "DATABASE_URL", "CLARION_PUBLIC_URL"):
        assert any(line.startswith(f"configuration: {name}: ") for line in lines), done.stderr
    assert "Traceback" not in done.stderr
    assert "short" not in done.stderr.replace("string_too_short", "").replace("too short", "")


def test_a_short_token_secret_serves_development_only() -> None:
    """Production wants 32 characters (RFC 7518), and tells it with every other problem."""
    assert run(CLARION_TOKEN_SECRET="short", CLARION_ENVIRONMENT="development").returncode == 0
    done = run(CLARION_TOKEN_SECRET="short", CLARION_SECRET_KEY="dev-" + "x" * 40)
    assert done.returncode == 78
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == [
        "CLARION_SECRET_KEY", "CLARION_TOKEN_SECRET",
    ]  # fmt: skip
    assert run(CLARION_TOKEN_SECRET="", CLARION_ENVIRONMENT="development").returncode == 78


@pytest.mark.parametrize("name", ["CLARION_SECRET_KEY", "CLARION_TOKEN_SECRET"])
def test_production_refuses_a_development_secret(name: str) -> None:
    """A secret of make up starts with dev-; production does not start on it, development does."""
    done = run(**{name: "dev-" + "x" * 40})
    assert done.returncode == 78
    assert f"{name}: a development secret" in done.stderr
    assert run(**{name: "dev-" + "x" * 40}, CLARION_ENVIRONMENT="development").returncode == 0


@pytest.mark.parametrize(
    ("environment", "lab", "is_on"),
    [
        ("development", None, True), ("production", None, False),
        ("development", "0", False), ("production", "1", True), ("production", "off", False),
    ],
)  # fmt: skip
def test_the_lab_is_on_in_development_unless_told_otherwise(environment: str, lab: str | None, is_on: bool) -> None:
    """CLARION_LAB decides; left out, a production has no lab."""
    assert run(LAB, CLARION_ENVIRONMENT=environment, CLARION_LAB=lab).stdout.strip() == str(is_on)


def test_the_lab_is_on_or_off() -> None:
    """Any other word is a problem of the environment."""
    done = run(LAB, CLARION_LAB="maybe")
    assert done.returncode == 78
    assert done.stderr.startswith("configuration: CLARION_LAB: ")


def test_a_wrong_clarion_toml_ends_the_start(tmp_path: Path) -> None:
    """The configuration file is part of the environment: its problems are told at start."""
    path = tmp_path / "clarion.toml"
    path.write_text("[channel]\nhistory_sise = 1\n[limits]\nnope = 1\n")
    done = run(CLARION_CONFIG=str(path))
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 2
    assert "CLARION_CONFIG" in done.stderr
