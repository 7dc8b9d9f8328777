"""How the service starts, stops and keeps connections."""

from __future__ import annotations

import http.client
import socket
import time

import pytest

from tests.support.waiting import wait_until

from .conftest import StartService
from .http_service import GUNICORN_CONF, HttpService


def test_a_bad_configuration_ends_the_master_with_78(service: HttpService) -> None:
    """One line a problem with the variable's name, exit code 78, no worker, no traceback."""
    changes = {"CLARION_REDIS_URL": "nonsense", "CLARION_HTTP_THREADS": "many", "CLARION_SECRET_KEY": "short"}
    done = service.run("-m", "gunicorn", "-c", str(GUNICORN_CONF), **changes)
    assert done.returncode == 78, done.stderr
    lines = done.stderr.splitlines()
    assert sorted(line.split(": ")[1] for line in lines) == sorted(changes), done.stderr


def test_a_bad_configuration_ends_a_command_with_78(service: HttpService) -> None:
    """The same for ``python -m http_api``."""
    done = service.run("-m", "http_api", "check", CLARION_CONFIG="/nowhere/clarion.toml")
    assert done.returncode == 78, done.stderr
    assert done.stderr.startswith("configuration: CLARION_CONFIG: ")
    assert "Traceback" not in done.stderr


def test_production_refuses_a_development_secret(service: HttpService) -> None:
    """What make up makes does not serve production."""
    done = service.run("-m", "http_api", "check", CLARION_ENVIRONMENT="production")
    assert done.returncode == 78
    assert "CLARION_SECRET_KEY: a development secret" in done.stderr


def test_production_passes_djangos_own_deployment_check(service: HttpService) -> None:
    """``check --deploy`` finds nothing but what nginx does (TLS redirect and HSTS)."""
    production = {
        "CLARION_ENVIRONMENT": "production",
        "CLARION_SECRET_KEY": "8Zq-vN1x" * 8,
        "CLARION_TOKEN_SECRET": "p3Xw_r7K" * 8,
        "CLARION_PUBLIC_URL": "https://push.example",
    }
    done = service.run("-m", "http_api", "check", "--deploy", **production)
    assert done.returncode == 0, done.stderr
    warnings = {word.strip("()") for word in done.stderr.split() if word.startswith("(security.")}
    assert warnings <= {"security.W004", "security.W008"}, done.stderr


def test_the_migrations_hold_every_model(service: HttpService) -> None:
    """No model differs from its migrations."""
    done = service.run("-m", "http_api", "makemigrations", "--check", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_idle_connection_outlives_nginx(service: HttpService) -> None:
    """gunicorn keeps an idle connection longer than nginx's 60 s, so it is never gunicorn that closes one in use."""
    done = service.run("-m", "gunicorn", "-c", str(GUNICORN_CONF), "--print-config")
    settings = {name: value for name, _, value in (line.partition("=") for line in done.stdout.splitlines())}
    settings = {name.strip(): value.strip() for name, value in settings.items()}
    assert int(settings["keepalive"]) > 60
    assert settings["control_socket_disable"] == "True"
    assert settings["worker_class"] == "gthread"
    client = service.connection()
    assert service.publish("chat:room", connection=client).status == 202
    first = client.sock
    time.sleep(3)  # gunicorn's default is 2
    assert service.publish("chat:room", connection=client).status == 202
    assert client.sock is first
    client.close()


def test_a_stop_finishes_what_runs(start_service: StartService, shared_redis_url: str) -> None:
    """SIGTERM: a request whose body is still arriving is answered, then all processes are gone."""
    service = start_service(shared_redis_url)
    [worker] = service.workers()
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as client:
        body = b'{"data": 1}'
        head = (
            f"POST /api/v1/channels/chat:room/publications HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\n"
            f"X-API-Key: {service.keys['publish']}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
        )
        client.sendall(head.encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 100 "), "the worker waits for the body"
        assert service._process
        service._process.terminate()
        wait_until(lambda: "Handling signal: term" in service.log, what="gunicorn has the signal")
        client.sendall(body)
        assert client.recv(1000).startswith(b"HTTP/1.1 202 ")
    assert service.stop() == 0
    wait_until(lambda: not worker.is_running(), what="the worker is gone")


def test_a_worker_that_dies_is_replaced(start_service: StartService, shared_redis_url: str) -> None:
    """kill -9 of the worker: the next requests are answered by a new one."""
    service = start_service(shared_redis_url)
    [worker] = service.workers()
    worker.kill()
    wait_until(lambda: [other for other in service.workers() if other.pid != worker.pid], what="a new worker")

    def answers() -> bool:
        try:
            return service.publish("chat:room").status == 202
        except (OSError, http.client.HTTPException):
            return False

    wait_until(answers, what="the new worker answers")
    assert worker.pid not in [other.pid for other in service.workers()]


def test_several_workers_share_sqlite(start_service: StartService, shared_redis_url: str) -> None:
    """Two processes write to one SQLite file at once and none meets a locked database."""
    from concurrent.futures import ThreadPoolExecutor

    service = start_service(shared_redis_url, CLARION_HTTP_WORKERS="2")
    document = {"users": [str(number) for number in range(20)], "title": "t", "body": "b"}
    with ThreadPoolExecutor(8) as pool:
        statuses = list(
            pool.map(lambda _: service.post("/api/v1/notifications", document, key="notify").status, range(80))
        )
    assert set(statuses) == {202}
    assert "locked" not in service.log


@pytest.mark.parametrize("line", ["x" * 7000, "%41" * 2500])
def test_a_long_request_line_gets_our_answer(service: HttpService, line: str) -> None:
    """nginx passes lines of 8 KiB on; gunicorn's own limit, with a page of its own, lies above."""
    answer = service.publish(line)
    assert (answer.status, answer.code) == (400, "name_invalid")
