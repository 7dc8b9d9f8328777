"""docs/runbooks/secrets.md: the rotations of servers' passwords as they stand there, on real servers with TLS."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from tests.support.certificates import Authority
from tests.support.one_secret_cluster import OneSecretCluster
from tests.support.pasting import ROOT, blocks_of
from tests.support.postgres_server import PostgresServer, postgres_program, postgres_server
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

_PAGE: Final = (ROOT / "docs" / "runbooks" / "secrets.md").read_text()
FUNCTIONS: Final = blocks_of(_PAGE, "sh")[0].text


def section(heading: str) -> str:
    """The text below a heading of the page."""
    found = re.search(rf"^## {heading}\n(.*?)^## ", _PAGE, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


REDIS: Final = FUNCTIONS + blocks_of(section("Redis' password"), "sh")[0].text
ROLES: Final = blocks_of(section("PostgreSQL's password"), "sql")[0].text
POSTGRESQL: Final = FUNCTIONS + blocks_of(section("PostgreSQL's password"), "sh")[0].text


def without_user(url: str) -> tuple[str, str, str, str]:
    """What a rotation leaves alone: scheme, host with port, path, query."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query


def redis_takes(urls: str) -> bool:
    """Whether each of these URLs, with commas between, signs in."""
    for url in urls.split(","):
        try:
            with redis.Redis.from_url(url, socket_timeout=5) as client:
                client.ping()
        except redis.AuthenticationError:
            return False
    return True


def postgresql_takes(url: str) -> bool:
    """Whether this URL signs in, as the owner of everything."""
    try:
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("clarion",)
    except psycopg.OperationalError as exc:
        if "password authentication failed" not in str(exc):
            raise
        return False
    return True


# --- Redis -------------------------------------------------------------------------------------------------------


@pytest.fixture
def redis_urls(redis_server: RedisServer, tmp_path: Path) -> str:
    """Two URLs of a Redis with TLS and a user `clarion`, as two shards have."""
    authority = Authority(tmp_path)
    port = redis_server.tls_start(*authority.issue(tmp_path, "localhost"))
    with redis_server.client() as client:
        client.acl_setuser("clarion", enabled=True, passwords=["+old"], categories=["+@all"], keys=["*"])
    first = f"rediss://clarion:old@localhost:{port}?ssl_ca_certs={authority.file}"
    return f"{first},rediss://clarion:old@localhost:{port}/0?ssl_ca_certs={authority.file}&ssl_check_hostname=true"


@pytest.fixture
def redis_cluster(redis_server: RedisServer, redis_urls: str, tmp_path: Path) -> Iterator[OneSecretCluster]:
    """A cluster whose Secret has these URLs, and `redis-cli` of an administrator, whatever the host."""
    cluster = OneSecretCluster(tmp_path, {"CLARION_REDIS_URL": redis_urls})
    to_command = 'while [ "$1" != ACL ]; do shift; done'
    redis_cli = f'{shutil.which("redis-cli")} -e -p {redis_server.port} "$@"'
    cluster.program("redis-cli", f"#!/bin/sh\n{to_command}\nexec {redis_cli}\n")
    yield cluster
    cluster.stop()


def test_redis_password(redis_cluster: OneSecretCluster, redis_urls: str) -> None:
    """Both are good while pods roll, then the new one alone; connections stay, and so does the rest of each URL."""
    with redis.Redis.from_url(redis_urls.split(",")[0], socket_timeout=5, retry=None) as held:
        connection_id = held.client_id()
        redis_cluster.start(REDIS)
        redis_cluster.wait_rolling()
        new = redis_cluster.secret("CLARION_REDIS_URL")
        assert list(map(without_user, new.split(","))) == list(map(without_user, redis_urls.split(",")))
        assert {urlsplit(url).username for url in new.split(",")} == {"clarion"}
        assert redis_takes(redis_urls)
        assert redis_takes(new)
        redis_cluster.roll_end()
        assert redis_cluster.wait() == 0, redis_cluster.printed
        assert redis_takes(new)
        assert not redis_takes(redis_urls)
        assert held.client_id() == connection_id


def test_redis_password_after_a_roll_that_fails(redis_cluster: OneSecretCluster, redis_urls: str) -> None:
    """Nothing is taken away: pods of before go on."""
    redis_cluster.start(REDIS)
    redis_cluster.wait_rolling()
    redis_cluster.roll_end(code=1)
    assert redis_cluster.wait() != 0
    assert redis_takes(redis_urls)


# --- PostgreSQL --------------------------------------------------------------------------------------------------


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL whose `clarion` is an ordinary role with a password, and has what the page makes once."""
    with postgres_server() as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE ROLE administrator SUPERUSER LOGIN")
        with psycopg.connect(_administrator(server), autocommit=True) as connection:
            connection.execute("ALTER ROLE clarion RENAME TO first")
            connection.execute("CREATE ROLE clarion LOGIN PASSWORD 'old'")
            connection.execute("CREATE DATABASE clarion OWNER clarion")
            connection.execute(ROLES.encode())
            # Not before all is made: from here on these three are asked for their passwords.
            asked = "host all clarion,clarion_a,clarion_b 127.0.0.1/32 scram-sha-256\n"
            (server.folder / "data" / "pg_hba.conf").write_text(f"{asked}host all all 127.0.0.1/32 trust\n")
            connection.execute("SELECT pg_reload_conf()")
        yield server


def _administrator(server: PostgresServer) -> str:
    return f"postgres://administrator@127.0.0.1:{server.port}/postgres"


@pytest.fixture
def postgresql_cluster(own_postgres: PostgresServer, tmp_path: Path) -> Iterator[OneSecretCluster]:
    """A cluster whose Secret has a URL with TLS, and `psql` of an administrator."""
    authority = Authority(tmp_path)
    url = (
        f"postgres://clarion:old@localhost:{own_postgres.port}/clarion?sslmode=verify-full&sslrootcert={authority.file}"
    )
    own_postgres.tls_start(*authority.issue(tmp_path, "localhost"), by=_administrator(own_postgres))
    cluster = OneSecretCluster(tmp_path, {"DATABASE_URL": url})
    psql = f'{postgres_program("psql")} "{_administrator(own_postgres)}"'
    cluster.program("psql", f'#!/bin/sh\nexec {psql} "$@"\n')
    wait_until(lambda: not postgresql_takes(url.replace(":old@", ":wrong@")), what="passwords are asked for")
    yield cluster
    cluster.stop()


def test_postgresql_password(postgresql_cluster: OneSecretCluster) -> None:
    """From the owner to the first role, to the second, and back: old and new are good while pods roll, then the new."""
    for role in ("clarion_a", "clarion_b", "clarion_a"):
        old = postgresql_cluster.secret("DATABASE_URL")
        postgresql_cluster.start(POSTGRESQL)
        postgresql_cluster.wait_rolling()
        new = postgresql_cluster.secret("DATABASE_URL")
        assert without_user(new) == without_user(old)
        assert urlsplit(new).username == role
        assert (postgresql_takes(old), postgresql_takes(new)) == (True, True)
        postgresql_cluster.roll_end()
        assert postgresql_cluster.wait() == 0, postgresql_cluster.printed
        assert (postgresql_takes(old), postgresql_takes(new)) == (False, True)


def test_postgresql_password_after_a_roll_that_fails(postgresql_cluster: OneSecretCluster) -> None:
    """Nothing is taken away: pods of before go on."""
    old = postgresql_cluster.secret("DATABASE_URL")
    postgresql_cluster.start(POSTGRESQL)
    postgresql_cluster.wait_rolling()
    postgresql_cluster.roll_end(code=1)
    assert postgresql_cluster.wait() != 0
    assert postgresql_takes(old)
