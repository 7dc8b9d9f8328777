"""``migrate``: it waits for its database, and a second one at the same time is harmless."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from clarion.migration_lock import LOCK_KEY
from tests.support.child import child_start, child_stop
from tests.support.ports import free_port
from tests.support.postgres_server import PostgresServer
from tests.support.postgres_server import postgres_server as postgres_running
from tests.support.waiting import wait_until

from .http_service import HttpService

_WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> str:
    """An empty database."""
    return postgres_server.database_create(f"migrate_{uuid4().hex[:8]}")


@pytest.fixture
def migrates(tmp_path: Path, database_url: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Three of http-api's ``migrate``, just started."""
    env = HttpService(tmp_path, database_url, "redis://127.0.0.1:1", "t").env
    command = [sys.executable, "-m", "http_api", "migrate", "--noinput"]
    started = [child_start(command, tmp_path / f"migrate-{number}.log", env=env) for number in range(3)]
    yield started
    for child in started:
        child_stop(child, hard=True)


def test_migrate_runs_one_at_a_time(migrates: list[subprocess.Popen[bytes]], database_url: str, tmp_path: Path) -> None:
    """Of several on an empty database one migrates, the others wait and find nothing to do; all end well."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])  # before any of them has started Django

        def are_all_waiting() -> bool:
            (waiting,) = connection.execute(_WAITING).fetchone() or (0,)
            return bool(waiting == len(migrates))

        wait_until(are_all_waiting, what="all wait for one another", deadline_s=60)
        assert connection.execute("SELECT to_regclass('django_migrations')").fetchone() == (None,)
        connection.execute("SELECT pg_advisory_unlock(%s)", [LOCK_KEY])
        codes = [child.wait(90) for child in migrates]
        logs = [(tmp_path / f"migrate-{number}.log").read_text() for number in range(len(migrates))]
        assert codes == [0, 0, 0], "\n".join(logs)
        assert sorted("No migrations to apply." in log for log in logs) == [False, True, True]
        twice = "SELECT app, name FROM django_migrations GROUP BY app, name HAVING count(*) > 1"
        assert connection.execute(twice).fetchall() == []


def test_migrate_waits_for_its_database(tmp_path: Path) -> None:
    """PostgreSQL comes later: it says for what it waits, and then migrates."""
    with postgres_running() as server:
        server.stop()
        env = HttpService(tmp_path, server.url(), "redis://127.0.0.1:1", "t").env
        log = tmp_path / "migrate.log"
        child = child_start([sys.executable, "-m", "http_api", "migrate", "--noinput"], log, env=env)
        try:
            wait_until(lambda: '"database.waiting"' in log.read_text(), what="it says that it waits", deadline_s=60)
            server.start()
            assert child.wait(90) == 0, log.read_text()
        finally:
            child_stop(child, hard=True)


def test_a_command_whose_database_is_away_says_so_in_a_line(tmp_path: Path) -> None:
    """Exit code 75, which means "try again"; no traceback."""
    service = HttpService(tmp_path, f"postgres://clarion:hunter2@127.0.0.1:{free_port()}/x", "redis://127.0.0.1:1", "t")
    done = service.run("-m", "http_api", "showmigrations")
    assert done.returncode == 75, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("database: connection failed: ")
    assert "hunter2" not in line
