"""Trap 43: detached endpoints and database connections that PostgreSQL has closed."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from tests.support.postgres_server import PostgresServer

from .server_process import ServerProcess


@pytest.mark.parametrize("kind", ["detach", "consumer"])
def test_endpoint_survives_closed_database_connections(
    start: Callable[..., ServerProcess], postgres_server: PostgresServer, kind: str
) -> None:
    """Trap 43: `database_sync_to_async` drops a connection that PostgreSQL closed: the next handshake works."""
    server = start(app="database_apps:application", env={"TEST_DATABASE_URL": postgres_server.url()})

    def backend() -> int | None:
        client = server.dial()
        if client.upgrade(f"/ws/{kind}").status != 101:
            return None
        frame = client.read_frame()
        client.close()
        return int(frame.payload) if frame and frame.opcode == 1 else None

    first = backend()
    assert first is not None
    for _ in range(2):
        with psycopg.connect(postgres_server.url(), autocommit=True) as admin:
            admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()")
        server.fault_expected = True  # the one query that finds the connection dead
        backend()
        alive = [backend() for _ in range(3)]
        assert None not in alive
        assert first not in alive
