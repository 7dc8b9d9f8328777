"""The override files of deploy/compose: each is started, and passes the smoke test."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.support.containers import ROOT, Deployment, deployment, docker, hardening_faults
from tests.support.ports import free_port
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("images")]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names], check=True, capture_output=True, timeout=60)
    key.chmod(0o444)
    return certificate, key


def test_tls(certificate: tuple[Path, Path]) -> None:
    """https and wss with the mounted certificate, HSTS, and plain HTTP that leads there."""
    plain = free_port()
    env = {
        "CLARION_TLS_CERTIFICATE": str(certificate[0]),
        "CLARION_TLS_KEY": str(certificate[1]),
        "CLARION_LISTEN_HTTP": f"127.0.0.1:{plain}",
    }
    with deployment("deploy/compose/tls.yml", env=env, scheme="https", ca=str(certificate[0])) as running:
        running.wait_smoke()
        trust = ssl.create_default_context(cafile=str(certificate[0]))
        with httpx.Client(base_url=running.url, verify=trust, trust_env=False) as client:
            page = client.get("/sign-in")
            assert page.headers["strict-transport-security"] == "max-age=31536000"
            assert f"connect-src 'self' wss://127.0.0.1:{running.port}" in page.headers["content-security-policy"]
            assert "; Secure" in page.headers["set-cookie"]
        led = httpx.get(f"http://127.0.0.1:{plain}/sign-in?next=/", trust_env=False)
        assert led.status_code == httpx.codes.PERMANENT_REDIRECT
        assert led.headers["location"] == f"{running.url}/sign-in?next=/"
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.load_verify_locations(str(certificate[0]))
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        old.set_ciphers("AES128-SHA:@SECLEVEL=0")  # no forward secrecy
        with pytest.raises(httpx.ConnectError):
            httpx.get(running.url, verify=old, trust_env=False)


def test_shards() -> None:
    """Three Redis shards: channels spread over all of them, and everything works."""
    with deployment("deploy/compose/shards.yml") as running:
        running.wait_smoke()
        for number in range(24):
            assert running.publish(f"chat:{number}", {"n": number})
        counts = {}
        for shard in ("redis", "redis-2", "redis-3"):
            ask = "REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli dbsize"
            counts[shard] = int(running.run_in(shard, "sh", "-c", ask).split()[-1])
        assert min(counts.values()) > 0, counts


def test_sentinel() -> None:
    """The primary Redis is killed: another one takes over by itself; the old one comes back as its replica."""
    with deployment("deploy/compose/sentinel.yml") as running:
        running.wait_smoke()
        assert hardening_faults(running) == []
        assert running.publish("chat:before", {"n": 1})
        running.redis_flush()
        wait_until(lambda: replicas(running, "redis") == 2, what="both replicas follow")
        old = running.kill("redis")
        running.wait_smoke()
        assert primary(running) != "redis-1"
        with running.client() as client:
            kept = client.post("/api/history", json={"channel": "chat:before", "limit": 5}).json()["result"]
        assert [each["data"] for each in kept["publications"]] == [{"n": 1}]
        docker("start", *old)
        new = primary(running)
        wait_until(lambda: replicas(running, new) == 2, 60, what="the old primary follows the new one")
        running.wait_smoke()
        assert primary(running) == new


def primary(running: Deployment) -> str:
    """The host that the Sentinels call primary."""
    ask = ("redis-cli", "-p", "26379", "sentinel", "get-master-addr-by-name", "clarion")
    return running.run_in("sentinel-1", *ask).split()[0]


def replicas(running: Deployment, server: str) -> int:
    """How many replicas of a server are in step."""
    ask = "REDISCLI_AUTH=$(cat /run/secrets/redis_password) redis-cli info replication"
    return running.run_in(server, "sh", "-c", ask).count("state=online")


def test_development(tmp_path: Path) -> None:
    """The checkout's code runs and is started again when it changes; the lab is served."""
    checkout = tmp_path / "checkout"
    for folder in ("libs", "services", "deploy", "docs"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    made = Deployment(["deploy/compose/development.yml"], {"CLARION_CHECKOUT": str(checkout)})
    try:
        made.secrets_make()
        made.up()
        made.wait_smoke()
        assert httpx.get(f"{made.url}/lab/", trust_env=False).status_code == httpx.codes.OK
        before = {each["Id"] for each in made.inspected("ws-gateway")}
        source = checkout / "libs" / "clarion" / "src" / "clarion" / "__init__.py"
        source.write_text(source.read_text() + "\n")
        for service in ("http-api", "ws-gateway", "notifier"):
            wait_until(lambda s=service: "reload: " in made.logs(s), what=f"{service} is started again")  # type: ignore[misc]
        made.wait_smoke()
        assert {each["Id"] for each in made.inspected("ws-gateway")} == before
    finally:
        made.destroy()


@pytest.mark.parametrize("profile", ["observability", "load"])
def test_profiles_are_complete(profile: str) -> None:
    """Compose accepts each profile, and every file that it mounts is there."""
    words = ["compose", "--project-directory", str(ROOT), "-f", str(ROOT / "docker-compose.yml"), "--profile", profile]
    project = json.loads(docker(*words, "config", "--format", "json").stdout)
    assert len(project["services"]) > 7
    assert [each["file"] for each in project["configs"].values() if not Path(each["file"]).exists()] == []


def test_load_profile() -> None:
    """The load profile's clients are served, lose nothing, and its exit code and last line say so."""
    env = {"LOAD_CLIENTS": "20", "LOAD_CHANNELS": "4", "LOAD_SECONDS": "15", "LOAD_OPEN_PER_S": "50"}
    with deployment(env=env) as running:
        running.env["CLARION_API_KEY"] = running.key
        done = running.compose("--profile", "load", "run", "--rm", "-T", "load", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        last = done.stdout.splitlines()[-1]
        assert "20 clients" in last, done.stdout
        assert last.endswith(" 0 lost"), done.stdout
