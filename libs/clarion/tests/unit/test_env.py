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


DATABASE_URLS_WRONG = [
    "", "nonsense", "mongo://a:hunter2@h/x", "mysql://a:hunter2@h/x", "postgis://a:hunter2@h/x",
    "postgres://a:hunter2@h", "postgres://a:hunter2@:5432/", "postgres://a:hunter2@h:port/x",
    "postgres://a:hunter2@h:99999/x", "postgres://a:hunter2@h/x?sslmod=require", "postgres://a:hunter2#@h/x",
]  # fmt: skip
REDIS_URLS_WRONG = [
    "", "redis:6379", "redis://", "http://:hunter2@h", "redis://:hunter2@h:port", "redis://:hunter2@h?tls=1",
    "redis://a,", "redis://a,nonsense", "redis://:hunter2@h?socket_timeout=soon",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "url"),
    [
        *(("DATABASE_URL", url) for url in DATABASE_URLS_WRONG),
        *(("CLARION_REDIS_URL", url) for url in REDIS_URLS_WRONG),
    ],
)
def test_a_url_that_cannot_work_is_refused(name: str, url: str) -> None:
    """By its form alone, in one line that does not show it; of several Redis servers one is enough."""
    done = run(**{name: url})
    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"configuration: {name}: ")
    assert "hunter2" not in line


@pytest.mark.parametrize(
    "url",
    [
        "postgres://a:p%40ss@h:5432/x?sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=9", "postgresql://h/x",
        "postgres:///x?host=/run/postgresql", "postgres://a@h/x?pool=true", "sqlite:////tmp/x", "sqlite://:memory:",
    ],
)  # fmt: skip
def test_a_database_url_with_options_is_taken(url: str) -> None:
    """Those of libpq and of Django, a socket's folder, SQLite."""
    assert run(DATABASE_URL=url).returncode == 0


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


KEY = "k" * 40


def test_the_hmac_key_is_the_variables_before_the_files(tmp_path: Path) -> None:
    """CLARION_TOKEN_SECRET wins over client.token.hmac_secret_key; one of the two is enough."""
    path = tmp_path / "clarion.toml"
    path.write_text(f'[client.token]\nhmac_secret_key = "{KEY}"\n')
    program = "from clarion.env import *; print(env_load(ServiceEnv).hmac_secret)"
    assert run(program, CLARION_CONFIG=str(path)).stdout.strip() == "t" * 40
    assert run(program, CLARION_CONFIG=str(path), CLARION_TOKEN_SECRET=None).stdout.strip() == KEY


@pytest.mark.parametrize("config", ["", "[client]\n", '[client.token]\naudience = "x"\n'])
def test_a_service_without_any_key_of_tokens_does_not_start(tmp_path: Path, config: str) -> None:
    """Neither in the environment nor in the file: no token could ever be accepted."""
    path = tmp_path / "clarion.toml"
    path.write_text(config)
    done = run(CLARION_CONFIG=str(path), CLARION_TOKEN_SECRET=None)
    assert done.returncode == 78
    assert done.stderr.startswith("configuration: CLARION_TOKEN_SECRET: required")
    path.write_text(
        config.replace("[client.token]", "") + '[client.token]\njwks_public_endpoint = "https://idp.example/k"\n'
    )
    if "audience" not in config:
        assert run(CLARION_CONFIG=str(path), CLARION_TOKEN_SECRET=None).returncode == 0


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("[client]\ninsecure = true", "client.insecure: lets anyone do anything"),
        ('[client.token]\nhmac_secret_key = "short"', "client.token.hmac_secret_key: at least 32"),
        ('[client.token]\nhmac_previous_secret_key = "short"', "client.token.hmac_previous_secret_key: at least 32"),
        (f'[client.token]\nhmac_secret_key = "dev-{KEY}"', "client.token.hmac_secret_key: a development secret"),
        (
            '[client.subscription_token]\nhmac_secret_key = "short"',
            "client.subscription_token.hmac_secret_key: at least 32",
        ),
    ],
)
def test_production_refuses_what_development_allows(tmp_path: Path, table: str, line: str) -> None:
    """client.insecure, and HMAC keys that are short or of make up; the key itself is not shown."""
    path = tmp_path / "clarion.toml"
    path.write_text(table + "\n")
    done = run(CLARION_CONFIG=str(path))
    assert (done.returncode, done.stderr.count("\n")) == (78, 1), done.stderr
    assert f"configuration: CLARION_CONFIG: {line}" in done.stderr
    assert '"short"' not in done.stderr
    assert run(CLARION_CONFIG=str(path), CLARION_ENVIRONMENT="development").returncode == 0


def test_a_pem_key_is_no_token_secret() -> None:
    """A public key that everybody knows must not become a secret by a mix-up of variables."""
    done = run(CLARION_TOKEN_SECRET="-----BEGIN PUBLIC KEY-----\nMIIB", CLARION_ENVIRONMENT="development")
    assert done.returncode == 78
    assert "CLARION_TOKEN_SECRET: this is a PEM key" in done.stderr


def test_the_files_problems_are_told_with_the_environments(tmp_path: Path) -> None:
    """One run tells everything, whichever of the two is wrong."""
    path = tmp_path / "clarion.toml"
    path.write_text("[limits]\nnope = 1\n")
    done = run(CLARION_CONFIG=str(path), CLARION_REDIS_URL=None, CLARION_SECRET_KEY="short")
    assert done.returncode == 78
    names = [line.split(": ")[1] for line in done.stderr.splitlines()]
    assert sorted(names) == ["CLARION_CONFIG", "CLARION_REDIS_URL", "CLARION_SECRET_KEY"]


def test_fallbacks_are_listed_and_show_no_secret() -> None:
    """Commas stand between them; the keys of a rotation are secrets as the others are."""
    keys = ["a" * 40, "b" * 40]
    program = f"{PROGRAM}; print(env.secret_keys_accepted == {keys}, env.hmac_secrets_accepted == {keys})"
    listed = " , ".join(keys) + ","
    done = run(program, CLARION_SECRET_KEY_FALLBACKS=listed, CLARION_TOKEN_SECRET_FALLBACKS=listed)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("True True")
    assert not any(key in done.stdout for key in keys)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLARION_SECRET_KEY_FALLBACKS", "dev-" + "x" * 40), ("CLARION_TOKEN_SECRET_FALLBACKS", "dev-" + "x" * 40),
        ("CLARION_SECRET_KEY_FALLBACKS", "x" * 40 + ",short"), ("CLARION_TOKEN_SECRET_FALLBACKS", "x" * 40 + ",short"),
        ("CLARION_TOKEN_SECRET_FALLBACKS", "-----BEGIN PUBLIC KEY-----" + "x" * 40),
    ],
)  # fmt: skip
def test_production_refuses_a_fallback_that_would_be_no_key(name: str, value: str) -> None:
    """Whoever knows a fallback can sign with it: it has to be as good as the key itself."""
    done = run(**{name: value})
    assert done.returncode == 78
    assert done.stderr.startswith(f"configuration: {name}: "), done.stderr


def test_secrets_are_read_from_a_mounted_secret(tmp_path: Path) -> None:
    """The files of a Kubernetes Secret are links through a hidden folder; each is a variable of its name."""
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..data").symlink_to("..2026")
    for name in ("CLARION_SECRET_KEY", "CLARION_TOKEN_SECRET", "DATABASE_URL", "CLARION_REDIS_URL"):
        (tmp_path / "..2026" / name).write_text(GOOD[name])
        (tmp_path / name).symlink_to(f"..data/{name}")
    program = f"from clarion.env import *; env = ServiceEnv(_secrets_dir={str(tmp_path)!r}); print(env.redis_urls)"
    changes = dict.fromkeys(("CLARION_SECRET_KEY", "CLARION_TOKEN_SECRET", "DATABASE_URL", "CLARION_REDIS_URL"))
    done = run(program, **changes)
    assert (done.stdout.strip(), done.stderr) == ("['redis://:hunter2@redis:6379']", "")
