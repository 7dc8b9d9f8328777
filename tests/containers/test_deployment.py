"""docker-compose.yml: started by the two documented commands, hardened, and stopped in order."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from tests.support.container_flow import clients
from tests.support.containers import Deployment, hardening_faults
from tests.support.waiting import wait_until_async
from tests.support.websocket import room_join

pytestmark = pytest.mark.timeout(600)


def test_deployment_passes_the_smoke_test(running: Deployment) -> None:
    """secrets.sh and `up -d --wait` are all; the smoke test says one line a check, in under 20 s."""
    began = time.monotonic()
    done = running.smoke()
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began < 20
    lines = done.stdout.splitlines()
    checks = [line.split()[1] for line in lines if line.startswith("smoke: ")]
    assert {"publish", "recover", "notification", "presence"} <= set(checks)
    assert len(lines) == len(checks) == len(set(checks))


def test_smoke_tells_what_is_broken(running: Deployment) -> None:
    """With a key that is not one, what needs it fails by name, and the exit code says so."""
    key = running.key
    running._key = "clk_not-a-key"
    try:
        done = running.smoke()
    finally:
        running._key = key
    assert done.returncode == 1
    failed = {line.split()[1] for line in done.stdout.splitlines() if line.split()[2] == "FAILED"}
    assert {"token", "publish", "notification"} <= failed
    assert not {"ready", "closed"} & failed


def test_containers_are_hardened(running: Deployment) -> None:
    """Each container: read-only root, no capability, no new privileges, not root, logs that rotate."""
    assert hardening_faults(running) == []
    services = {each["Config"]["Labels"]["com.docker.compose.service"] for each in running.inspected()}
    assert services == {"nginx", "http-api", "ws-gateway", "notifier", "migrate", "redis", "postgres"}


@pytest.mark.parametrize("service", ["nginx", "http-api", "ws-gateway", "notifier", "redis", "postgres"])
def test_processes_have_no_privileges(running: Deployment, service: str) -> None:
    """What really runs has neither uid 0 nor a capability, and cannot write to its root."""
    status = dict(
        line.split(":", 1) for line in running.run_in(service, "cat", "/proc/1/status").splitlines() if ":" in line
    )
    assert "0" not in status["Uid"].split()
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {0}
    assert status["NoNewPrivs"].strip() == "1"
    done = running.compose("exec", "-T", service, "sh", "-c", "echo x >/written-by-test", check=False)
    assert done.returncode != 0


def test_only_nginx_is_published(running: Deployment) -> None:
    """No other container has a port on the machine, and the inner network leads nowhere."""
    published = {
        each["Config"]["Labels"]["com.docker.compose.service"]
        for each in running.inspected()
        if any(each["NetworkSettings"]["Ports"].values())
    }
    assert published == {"nginx"}
    networks = {
        each["Config"]["Labels"]["com.docker.compose.service"]: {
            name.removeprefix(running.project + "_") for name in each["NetworkSettings"]["Networks"]
        }
        for each in running.inspected()
    }
    assert networks["nginx"] == {"edge"}
    assert networks["redis"] == networks["postgres"] == networks["notifier"] == {"inner"}


def test_internal_paths_are_closed(running: Deployment) -> None:
    """/metrics and /drain are nobody's, in any spelling; what nginx itself says carries the headers."""
    for path in ("/metrics", "/drain", "/metrics/", "/drain?now", "//metrics", "/x/../drain", "/%6detrics"):
        status, kind = raw_get(running.port, path)
        assert status == 404, path
        assert kind == "application/problem+json", path
    asked = [json.loads(line) for line in running.logs("nginx").splitlines() if "metrics" in line or "drain" in line]
    assert len(asked) >= 7
    assert {each["upstream"] for each in asked} == {""}, "somebody behind nginx was asked"
    with httpx.Client(base_url=running.url, trust_env=False) as client:
        page = client.get("/sign-in")
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["x-frame-options"] == "DENY"
        assert "strict-transport-security" not in page.headers
        assert "nginx/" not in page.headers.get("server", "")


def raw_get(port: int, path: str) -> tuple[int, str | None]:
    """Ask for a path as it is written, which no client of a higher level would; return status and content type."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type")
    finally:
        connection.close()


def test_logs_are_events_without_secrets(running: Deployment) -> None:
    """Each line of our containers is a JSON object; none holds a secret or a token; nginx's names the request."""
    token = running.token("log-reader")
    with httpx.Client(base_url=running.url, trust_env=False) as client:
        client.get(f"/ws/chat:x/?token={token}")
        client.get(f"/sign-in?next=/&token={token}")
    text = running.logs()
    secrets = {path.name: path.read_text() for path in running.secrets.iterdir()}
    assert [name for name, secret in secrets.items() if secret and secret in text] == []
    assert running.key not in text
    assert token not in text
    for service in ("nginx", "http-api", "ws-gateway", "notifier"):
        lines = running.logs(service).splitlines()
        if service == "nginx":  # what goes wrong with nginx itself it writes in its own form
            lines = [line for line in lines if line.startswith("{")]
        events = [json.loads(line) for line in lines]
        assert events, service
        if service == "nginx":
            assert all(event["request_id"] for event in events if event["event"] == "request.done")


@contextmanager
def limits(running: Deployment, **values: str) -> Iterator[None]:
    """nginx with other limits, which believes whatever address a client says that it comes from."""
    before = dict(running.env)
    running.env |= {"CLARION_TRUSTED_PROXIES": "0.0.0.0/0", **values}
    try:
        running.up("--no-deps", "nginx")
        yield
    finally:
        running.env = before
        running.up("--no-deps", "nginx")


def test_requests_of_an_address_are_limited(running: Deployment) -> None:
    """Over its requests a second an address is answered 429 and told when to come back."""
    with (
        limits(running, CLARION_NGINX_REQUESTS_PER_S="2"),
        httpx.Client(base_url=running.url, trust_env=False) as client,
    ):
        answers = [client.get("/health/live") for _ in range(40)]
        refused = [answer for answer in answers if answer.status_code == httpx.codes.TOO_MANY_REQUESTS]
        assert 20 < len(refused) < 40
        assert {answer.headers["retry-after"] for answer in refused} == {"1"}
        assert {answer.json()["code"] for answer in refused} == {"too_many_requests"}


async def handshake(running: Deployment, address: str) -> ClientConnection | dict[str, str]:
    """Join a room from an address; return the socket, or the problem document of a 429."""
    try:
        return await room_join(
            running.url, "chat:limits", running.token("limits"), headers={"X-Forwarded-For": address}
        )
    except InvalidStatus as exc:
        refused = exc.response
    assert (refused.status_code, refused.headers["retry-after"]) == (httpx.codes.TOO_MANY_REQUESTS, "1")
    problem: dict[str, str] = json.loads(refused.body)
    return problem


async def test_sockets_of_an_address_are_limited(running: Deployment) -> None:
    """Over its open sockets an address is refused with 429, until one is closed; another address is not."""
    with limits(running, CLARION_NGINX_CONNECTIONS_PER_ADDRESS="3"):
        made = [await handshake(running, "192.0.2.1") for _ in range(5)]
        sockets = [each for each in made if isinstance(each, ClientConnection)]
        assert len(sockets) == 3
        assert [each["code"] for each in made if isinstance(each, dict)] == ["too_many_requests"] * 2
        other = await handshake(running, "192.0.2.2")
        assert isinstance(other, ClientConnection)
        await sockets[0].close()
        again = await handshake(running, "192.0.2.1")  # nginx saw the close before this request
        assert isinstance(again, ClientConnection)
        for each in (*sockets[1:], other, again):
            await each.close()


async def test_handshakes_of_an_address_are_limited(running: Deployment) -> None:
    """Over its handshakes a second, and a burst of five seconds' worth, an address is refused with 429."""
    with limits(running, CLARION_NGINX_HANDSHAKES_PER_S="1"):
        made = await asyncio.gather(*(handshake(running, "192.0.2.1") for _ in range(20)))
        sockets = [each for each in made if isinstance(each, ClientConnection)]
        assert 6 <= len(sockets) < 20  # one, the burst, and those of the seconds that this took
        assert {each["code"] for each in made if isinstance(each, dict)} == {"too_many_requests"}
        other = await handshake(running, "192.0.2.2")
        assert isinstance(other, ClientConnection)
        for each in (*sockets, other):
            await each.close()


async def test_stop_is_clean(running: Deployment) -> None:
    """Asked to stop, every container ends by itself with code 0, clients or not; started again, it works."""
    async with clients(running, ["chat:stop"]) as made:
        connects = sum(client.connects for client in made)
        await asyncio.to_thread(running.compose, "stop")
        codes = {each["Name"]: each["State"]["ExitCode"] for each in running.inspected()}
        assert set(codes.values()) == {0}, codes
        await asyncio.to_thread(running.up)
        await asyncio.to_thread(running.wait_smoke)
        await wait_until_async(
            lambda: sum(client.connects for client in made) >= connects + len(made), what="all clients came back"
        )
        assert not [fault for client in made for fault in client.logs["chat:stop"].faults]
