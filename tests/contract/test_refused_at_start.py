"""A PostgreSQL or a Redis that answers and refuses its URL ends a process at its start, as any wrong setting does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.notifier_process import NotifierProcess
from tests.support.ports import free_port
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

ROOT: Final = Path(__file__).resolve().parents[2]
SERVICES: Final = {
    "http-api": ["-m", "gunicorn", "-c", str(ROOT / "services" / "http-api" / "gunicorn.conf.py")],
    "ws-gateway": ["-m", "ws_gateway"],
    "notifier": ["-m", "notifier"],
}
PROCESSES: Final = {**SERVICES, "migrate": ["-m", "http_api", "migrate", "--noinput"]}
AWAY: Final = "redis://127.0.0.1:1"


def run(
    process: str, folder: Path, *, database_url: str = "sqlite:////nowhere/db", redis_url: str = AWAY
) -> subprocess.CompletedProcess[str]:
    """Run a process to its end."""
    port = free_port()
    env = {
        "PATH": os.environ["PATH"],
        "CLARION_SECRET_KEY": "s" * 40,
        "CLARION_TOKEN_SECRET": "t" * 40,
        "CLARION_PUBLIC_URL": "https://push.example",
        "CLARION_REDIS_URL": redis_url,
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


def refused(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines of a process that its configuration ended; no password and no traceback stand in its output."""
    assert done.returncode == 78, done.stdout + done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if "configuration" in line]
    return [line.removeprefix("configuration: ") for line in lines]


# --- PostgreSQL --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", PROCESSES)
def test_a_role_that_is_not_there_ends_it(process: str, postgres_server: PostgresServer, tmp_path: Path) -> None:
    """Exit code 78 and one line with the variable's name; the password is not in it."""
    done = run(process, tmp_path, database_url=f"postgres://nobody:hunter2@127.0.0.1:{postgres_server.port}/postgres")
    assert refused(done) == ['DATABASE_URL: role "nobody" does not exist']


def test_a_database_that_is_not_there_ends_a_command(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """The same for the database's name."""
    done = run("migrate", tmp_path, database_url=postgres_server.url("nowhere"))
    assert (done.returncode, done.stderr) == (78, 'configuration: DATABASE_URL: database "nowhere" does not exist\n')


# --- Redis -------------------------------------------------------------------------------------------------------


@pytest.fixture
def closed_redis(redis_server: RedisServer) -> RedisServer:
    """A Redis whose only way in is user ``clarion`` with password ``right``."""
    with redis_server.client() as client:
        client.acl_setuser(
            "clarion", enabled=True, passwords=["+right"], categories=["+@all"], keys=["*"], channels=["*"]
        )
        client.config_set("requirepass", "others")
    return redis_server


def url(server: RedisServer, user_password: str) -> str:
    """The server's URL, with ``user:password``."""
    return f"redis://{user_password}@127.0.0.1:{server.port}"


WRONG: Final = "WRONGPASS invalid username-password pair or user is disabled"


@pytest.mark.parametrize("process", SERVICES)
def test_a_wrong_redis_password_ends_it(process: str, closed_redis: RedisServer, tmp_path: Path) -> None:
    """Exit code 78, and one line: the variable's name, the server, and what Redis said."""
    done = run(process, tmp_path, redis_url=url(closed_redis, "clarion:hunter2"))
    assert refused(done) == [f"CLARION_REDIS_URL: 127.0.0.1:{closed_redis.port}: {WRONG}"]


def test_all_that_refuse_are_told_at_once(
    closed_redis: RedisServer, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """A line for each shard and for the database; a shard that is well, or away, is in none."""
    shards = [url(closed_redis, user) for user in ("clarion:hunter2", "clarion:right", ":hunter2", "clarion:right")]
    redis_url = ",".join([*shards[:2], AWAY, shards[2].replace("127.0.0.1", "localhost"), f"{shards[3]}/99"])
    database_url = f"postgres://nobody:hunter2@127.0.0.1:{postgres_server.port}/postgres"
    done = run("notifier", tmp_path, database_url=database_url, redis_url=redis_url)
    assert refused(done) == [
        'DATABASE_URL: role "nobody" does not exist',
        f"CLARION_REDIS_URL: 127.0.0.1:{closed_redis.port}: {WRONG}",
        f"CLARION_REDIS_URL: localhost:{closed_redis.port}: {WRONG}",
        f"CLARION_REDIS_URL: 127.0.0.1:{closed_redis.port}: ERR DB index is out of range",
    ]


def test_a_redis_that_is_away_is_waited_for_until_it_refuses_or_serves(
    closed_redis: RedisServer, tmp_path: Path
) -> None:
    """What is not there at the start ends nothing, whatever it says when it comes: it names the variable."""
    closed_redis.stop()
    notifier = NotifierProcess(tmp_path, "sqlite://:memory:", url(closed_redis, "clarion:hunter2"))
    notifier.start(wait=False)
    try:
        wait_until(lambda: notifier.check("redis") == "unavailable: ConnectionError", what="Redis is missed")
        closed_redis.start()
        with closed_redis.client() as client:
            client.config_set("requirepass", "others")
        said = f"unavailable: CLARION_REDIS_URL: {WRONG}"
        wait_until(lambda: notifier.check("redis") == said, what="it says which variable is wrong")
        assert notifier.health("live")[0] == 200
        assert "hunter2" not in notifier.log
    finally:
        assert notifier.stop() == 0
