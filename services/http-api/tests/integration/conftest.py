"""Fixtures: the service on real gunicorn, SQLite and PostgreSQL, and a Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from .http_service import Browser, HttpService

StartService = Callable[..., HttpService]


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, shared_redis_url: str
) -> Iterator[HttpService]:
    """One service per kind of database, for every test that changes nothing for another."""
    folder = tmp_path_factory.mktemp(f"http-{request.param}")
    if request.param == "postgres":
        database_url = request.getfixturevalue("postgres_server").database_create(f"http_{uuid4().hex[:8]}")
    else:
        database_url = f"sqlite:///{folder}/clarion.sqlite3"
    server = HttpService(folder, database_url, shared_redis_url, f"t{uuid4().hex[:12]}")
    server.seed()
    server.start()
    yield server
    server.stop()
    assert "Traceback" not in server.log, server.log


@pytest.fixture
def browser(service: HttpService) -> Browser:
    """A browser that has not been anywhere."""
    return Browser(service)


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    """Start a service of one's own on SQLite, with any environment. Its processes are killed at the end."""
    started: list[HttpService] = []

    def factory(redis_url: str, *, seed: bool = True, **env: Any) -> HttpService:
        folder = tmp_path / f"service-{len(started)}"
        folder.mkdir()
        server = HttpService(folder, f"sqlite:///{folder}/clarion.sqlite3", redis_url, f"t{uuid4().hex[:12]}", **env)
        started.append(server)
        if seed:
            server.seed()
        server.start()
        return server

    yield factory
    for server in started:
        if server._process:
            server.stop(hard=True)
