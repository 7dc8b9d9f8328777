"""The product in containers, for tests: docker-compose.yml as a project of its own, with its own secrets and ports."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx

from tests.support.ports import free_port
from tests.support.rest_client import RestClient
from tests.support.waiting import wait_until

ROOT: Final = Path(__file__).resolve().parents[2]
SERVICES: Final = ("http-api", "ws-gateway", "notifier")
VERSION: Final = "test"
"""The tag of the images that the tests build, so that nobody's own are replaced."""

_TIMEOUT_S: Final = 540
_FILES: Final = 65_536

TOML: Final = """
[[channel.namespaces]]
name = "chat"
history_size = 5000
history_ttl = "600s"
force_recovery = true
presence = true
allow_subscribe_for_client = true
allow_publish_for_client = true
allow_history_for_subscriber = true
allow_presence_for_subscriber = true
"""


def docker(*words: str, timeout_s: float = _TIMEOUT_S, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a docker command and return what it said; fails with that unless it ends with 0."""
    done = subprocess.run(
        ["docker", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert not check or done.returncode == 0, f"docker {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def image(service: str) -> str:
    """The name of an image that the tests have built."""
    return f"clarion-{service}:{VERSION}"


def images_forget() -> None:
    """Remove what earlier runs have built, so that a start builds; layers stay in the builder's cache."""
    docker("image", "rm", "--force", *map(image, (*SERVICES, "nginx", "redis-primary")), check=False)


_CACHE_MOUNT: Final = re.compile(r"--mount=type=cache,\S+ ")


def dockerfile_without_caches(path: Path) -> str:
    """A Dockerfile whose steps find no package that an earlier build has fetched."""
    return _CACHE_MOUNT.sub("", path.read_text())


class Deployment(RestClient):
    """One project of Compose.

    Args:
        files: override files beside docker-compose.yml.
        env: more variables of Compose.
        scheme: of the origin.
    """

    def __init__(
        self, files: Sequence[str] = (), env: Mapping[str, str] | None = None, *, scheme: str = "http", ca: str = ""
    ) -> None:
        self.project = f"clarion-test-{uuid4().hex[:8]}"
        self.folder = Path(tempfile.mkdtemp(prefix="clarion-containers-"))
        self.port = free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.secrets = self.folder / "secrets"
        self._files = ["docker-compose.yml", *files]
        self._ca = ca
        self._key = ""
        toml = self.folder / "clarion.toml"
        toml.write_text(TOML)
        toml.chmod(0o644)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CLARION_")}
        self.env = {
            **inherited,
            "CLARION_VERSION": VERSION,
            "CLARION_SECRETS": str(self.secrets),
            "CLARION_TOML": str(toml),
            "CLARION_PUBLIC_URL": self.url,
            "CLARION_LISTEN": f"127.0.0.1:{self.port}",
            "CLARION_FILES": str(_FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)),
            "CLARION_HTTP_WORKERS": "1",
            # One address is all clients here.
            "CLARION_NGINX_CONNECTIONS_PER_ADDRESS": "0",
            "CLARION_NGINX_HANDSHAKES_PER_S": "0",
            "CLARION_NGINX_REQUESTS_PER_S": "0",
            **(env or {}),
        }

    # --- Compose --------------------------------------------------------------------------------------------------

    def compose(self, *words: str, check: bool = True, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command of Compose on the project; fails with what it said unless it ends with 0."""
        files = [word for file in self._files for word in ("-f", file)]
        done = subprocess.run(
            ["docker", "compose", "-p", self.project, "--progress", "plain", *files, *words],
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode:
            logs = self.compose("logs", "--tail", "15", check=False).stdout if words[0] == "up" else ""
            raise AssertionError(f"compose {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}{logs}")
        return done

    def secrets_make(self) -> None:
        """Make the secrets by the documented command."""
        script = ROOT / "deploy" / "scripts" / "secrets.sh"
        subprocess.run([str(script), str(self.secrets)], capture_output=True, check=True, timeout=30)

    def up(self, *words: str) -> None:
        """Start it, and wait until it is healthy; images that are missing are built."""
        self.compose("up", "-d", "--wait", *words, timeout_s=_TIMEOUT_S)

    def build_cold(self) -> None:
        """Build all images as on a machine that has never built one: without layers or packages of earlier builds."""
        services = json.loads(self.compose("config", "--format", "json").stdout)["services"]
        built = {name: each["build"] for name, each in services.items() if "build" in each and not each.get("profiles")}
        override: dict[str, Any] = {"services": {}}
        for name, build in built.items():
            dockerfile = self.folder / f"{name}.Dockerfile"
            dockerfile.write_text(dockerfile_without_caches(ROOT / build["dockerfile"]))
            override["services"][name] = {"build": {"dockerfile": str(dockerfile)}}
        path = self.folder / "cold.json"
        path.write_text(json.dumps(override))
        self.compose("-f", str(path), "build", "--no-cache", timeout_s=_TIMEOUT_S)

    def destroy(self) -> None:
        """Remove its containers, volumes and networks."""
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "1", "--remove-orphans", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- containers -----------------------------------------------------------------------------------------------

    def ids(self, *services: str) -> list[str]:
        """The containers of services, those that have ended too; of all, if none is named."""
        return self.compose("ps", "--all", "--quiet", *services).stdout.split()

    def inspected(self, *services: str) -> list[dict[str, Any]]:
        """What ``docker inspect`` says of each."""
        ids = self.ids(*services)
        found: list[dict[str, Any]] = json.loads(docker("inspect", *ids).stdout) if ids else []
        return found

    def kill(self, *services: str) -> list[str]:
        """``docker kill`` every container of services, and return them."""
        ids = self.ids(*services)
        docker("kill", *ids)
        return ids

    def logs(self, *services: str) -> str:
        """All that they wrote, one container after the other."""
        written = [docker("logs", each) for each in self.ids(*services)]
        return "".join(text for each in written for text in (each.stdout, each.stderr))

    def run_in(self, service: str, *command: str) -> str:
        """Run a command in the first container of a service and return what it printed."""
        return self.compose("exec", "-T", service, *command).stdout

    def redis_flush(self) -> None:
        """Wait until Redis has on its disk all that it answered for: what comes after may be lost, by design."""
        url = (self.secrets / "redis_password").read_text()
        said = self.run_in("redis", "sh", "-c", f"REDISCLI_AUTH={url} redis-cli WAITAOF 1 0 10000")
        assert said.split()[0] == "1", said

    # --- using it -------------------------------------------------------------------------------------------------

    @property
    def key(self) -> str:
        """See :class:`RestClient`: made on first use."""
        if not self._key:
            command = ("python", "-m", "http_api", "api_key_create", "--name", "tests", "--scopes", "admin")
            self._key = self.run_in("http-api", *command).strip()
        return self._key

    def smoke(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the smoke test once."""
        ca = ["--ca", self._ca] if self._ca else []
        return subprocess.run(
            [str(ROOT / "deploy" / "scripts" / "smoke.sh"), self.url, *ca, *words],
            env={**self.env, "CLARION_API_KEY": self.key},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def wait_smoke(self, deadline_s: float = 60) -> None:
        """Run the smoke test until it passes."""
        said = [""]

        def passes() -> bool:
            done = self.smoke()
            said[0] = done.stdout + done.stderr
            return done.returncode == 0

        try:
            wait_until(passes, deadline_s, what="the smoke test passes")
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{said[0]}\n{self.compose('ps', '--all', check=False).stdout}") from exc

    def node(self) -> str:
        """The gateway to which nginx sends the next client; "" if there is none."""
        connect = {"id": 1, "connect": {"token": self.token("probe")}}
        url = f"{self.url}/connection/http_stream"
        with httpx.stream("POST", url, json=connect, trust_env=False, timeout=20) as answer:
            if answer.status_code != httpx.codes.OK:
                return ""
            node: str = json.loads(next(answer.iter_lines()))["connect"]["node"]
        return node


def hardening_faults(running: Deployment) -> list[str]:
    """What is missing, by ``docker inspect``, at which container: nothing, in a deployment that is as it should be."""
    faults = []
    for each in running.inspected():
        host, user = each["HostConfig"], each["Config"]["User"].split(":")[0]
        stands = {
            "a read-only root": host["ReadonlyRootfs"],
            "no capabilities": host["CapDrop"] == ["ALL"] and not host["CapAdd"] and not host["Privileged"],
            "no new privileges": "no-new-privileges:true" in host["SecurityOpt"],
            "a user that is not root": user not in ("", "0", "root"),
            "logs that rotate": "max-size" in host["LogConfig"]["Config"],
        }
        faults += [f"{each['Name']}: {what}" for what, holds in stands.items() if not holds]
    return faults


@contextmanager
def deployment(
    *files: str, env: Mapping[str, str] | None = None, scheme: str = "http", ca: str = "", is_cold: bool = False
) -> Iterator[Deployment]:
    """Run the product in containers for the length of a ``with`` block.

    Args:
        files, env, scheme, ca: see :class:`Deployment`.
        is_cold: build the images first, from nothing.
    """
    made = Deployment(files, env, scheme=scheme, ca=ca)
    try:
        made.secrets_make()
        if is_cold:
            made.build_cold()
        made.up()
        yield made
    finally:
        if sys.exc_info()[0] is not None:
            print(made.compose("ps", "--all", check=False).stdout)
        made.destroy()
