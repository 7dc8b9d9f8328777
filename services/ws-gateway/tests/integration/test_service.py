"""``python -m ws_gateway``: its environment, its ports, its health on the internal port, its exit codes."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clarion.internal import OK
from tests.support.child import child_start, child_stop
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

from .conftest import GatewayProcess

BAD = {
    "CLARION_GATEWAY_BIND": "everywhere",
    "CLARION_INTERNAL_PORT": "65536",
    "CLARION_CONNECTIONS_MAX": "0",
    "CLARION_QUEUED_BYTES_MAX": "1",
    "CLARION_DRAIN_S": "-1",
}


@pytest.fixture
def stopped(shared_redis_url: str, migrated_database: Path, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway that the test starts itself."""
    shutil.copy(migrated_database, tmp_path)
    gateway = GatewayProcess(tmp_path, shared_redis_url, "unstarted")
    yield gateway
    if gateway.process is not None:
        gateway.stop()


def internal(gateway: GatewayProcess, path: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway.internal_port}{path}", timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, json.load(exc)


def ends(gateway: GatewayProcess, **env: str) -> subprocess.CompletedProcess[str]:
    """Run one that cannot start to its end."""
    return subprocess.run(
        [sys.executable, "-m", "ws_gateway"],
        env={**gateway.env, **env},
        cwd=gateway.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_service_refuses_a_bad_environment(stopped: GatewayProcess) -> None:
    """All that is wrong is told at once, a line each with the variable's name; exit code 78."""
    done = ends(stopped, **BAD)
    assert done.returncode == 78
    lines = done.stderr.splitlines()
    assert sorted(line.split(": ")[1] for line in lines) == sorted(BAD), done.stderr


@pytest.mark.parametrize("variable", ["CLARION_INTERNAL_PORT", "CLARION_GATEWAY_BIND"])
def test_service_says_that_a_port_is_taken(stopped: GatewayProcess, variable: str) -> None:
    """Exit code 1 and a line that says so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = ends(stopped, **{variable: f"127.0.0.1:{port}" if "BIND" in variable else str(port)})
    assert done.returncode == 1, done.stderr
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_service_listens_on_a_unix_socket(stopped: GatewayProcess) -> None:
    """``unix:/path`` for clients, and a free internal port that the log names."""
    path = stopped.folder / "gateway.sock"
    env = {**stopped.env, "CLARION_GATEWAY_BIND": f"unix:{path}", "CLARION_INTERNAL_PORT": "0"}
    process = child_start([sys.executable, "-m", "ws_gateway"], stopped.folder / "gateway.log", env=env)
    try:
        wait_until(path.exists, what="it listens")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(path))
            client.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.recv(1024).startswith(b"HTTP/1.1 200")
        stopped.internal_port = next(e["port"] for e in stopped.events if e["event"] == "internal_port.opened")
        assert internal(stopped, "/health/live")[0] == 200
    finally:
        assert child_stop(process) == 0


def test_internal_port_tells_health(gateway: GatewayProcess, redis_server: RedisServer) -> None:
    """Live and ready with their checks; without Redis live and not ready, and ready again when it is back."""
    assert internal(gateway, "/health/live") == (200, {"status": OK, "checks": {"loop": OK}})
    ready = {"redis": OK, "drain": OK, "loop": OK}
    assert internal(gateway, "/health/ready") == (200, {"status": OK, "checks": ready})
    redis_server.stop()
    wait_until(lambda: internal(gateway, "/health/ready")[0] == 503, what="it is not ready")
    assert internal(gateway, "/health/ready")[1]["checks"]["redis"] == "unavailable"
    assert internal(gateway, "/health/live")[0] == 200
    redis_server.start()
    wait_until(lambda: internal(gateway, "/health/ready")[0] == 200, what="it is ready again")
