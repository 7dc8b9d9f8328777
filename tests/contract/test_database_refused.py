"""A PostgreSQL that answers and refuses ``DATABASE_URL`` ends every process at its start, as any wrong setting does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.ports import free_port
from tests.support.postgres_server import PostgresServer

ROOT: Final = Path(__file__).resolve().parents[2]
PROCESSES: Final = {
    "http-api": ["-m", "gunicorn", "-c", str(ROOT / "services" / "http-api" / "gunicorn.conf.py")],
    "ws-gateway": ["-m", "ws_gateway"],
    "notifier": ["-m", "notifier"],
    "migrate": ["-m", "http_api", "migrate", "--noinput"],
}


def run(process: str, database_url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a process to its end, with a Redis that is away."""
    port = free_port()
    env = {
        "PATH": os.environ["PATH"],
        "CLARION_SECRET_KEY": "s" * 40,
        "CLARION_TOKEN_SECRET": "t" * 40,
        "CLARION_PUBLIC_URL": "https://push.example",
        "CLARION_REDIS_URL": "redis://127.0.0.1:1",
        "CLARION_HTTP_BIND": f"127.0.0.1:{port}",
        "CLARION_GATEWAY_BIND": f"127.0.0.1:{port}",
        "DATABASE_URL": database_url,
    }
    return subprocess.run(
        [sys.executable, *PROCESSES[process]],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("process", PROCESSES)
def test_a_role_that_is_not_there_ends_it(process: str, postgres_server: PostgresServer, tmp_path: Path) -> None:
    """Exit code 78 and one line with the variable's name; the password is not in it."""
    url = f"postgres://nobody:hunter2@127.0.0.1:{postgres_server.port}/postgres"
    done = run(process, url, tmp_path)
    assert done.returncode == 78, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if "configuration" in line]
    assert lines == ['configuration: DATABASE_URL: role "nobody" does not exist'], done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_database_that_is_not_there_ends_a_command(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """The same for the database's name."""
    done = run("migrate", postgres_server.url("nowhere"), tmp_path)
    assert (done.returncode, done.stderr) == (78, 'configuration: DATABASE_URL: database "nowhere" does not exist\n')
