"""Fixtures: servers under test. See `server_process.py`, `raw_client.py` and `apps.py`."""

from __future__ import annotations

import resource
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .server_process import ServerProcess, start_server

StartServer = Callable[..., ServerProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartServer]:
    """Start servers of one's own; at the end they must stop on SIGTERM and have logged no fault."""
    started: list[ServerProcess] = []

    def factory(*options: str, **more: Any) -> ServerProcess:
        server = start_server(tmp_path, *options, **more)
        started.append(server)
        return server

    yield factory
    for server in started:
        server.end()
    for server in started:
        server.assert_no_fault()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for every test that changes nothing for another."""
    server = start_server(tmp_path_factory.mktemp("server"))
    yield server
    server.end()


@pytest.fixture
def server(shared_server: ServerProcess) -> Iterator[ServerProcess]:
    """The shared server, watched for faults that this test causes."""
    assert shared_server.process.poll() is None, f"the shared server has died:\n{shared_server.log}"
    since, shared_server.fault_expected = len(shared_server.log), False
    yield shared_server
    while shared_server.clients:
        shared_server.clients.pop().close()
    shared_server.assert_no_fault(since)


@pytest.fixture
def many_files() -> Iterator[int]:
    """Thousands of sockets in the test's own process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 6_000:
        pytest.skip(f"this system allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def name() -> str:
    """A name of its own for a connection in the application's journal."""
    return secrets.token_hex(6)
