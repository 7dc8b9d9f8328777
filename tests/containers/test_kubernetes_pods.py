"""The pods of the local overlay as containers: what Kubernetes would start, with its users, limits, mounts and probes.

Not a cluster: no scheduler, no Service but a name, no policy. What an image lacks under a read-only root, as another
user or with the Secret's files is found here.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest

from k8s.tests.manifests import Container, Manifests, Object, Tree, pod_of
from tests.support.containers import ROOT, SERVICES, docker, image
from tests.support.ports import free_port
from tests.support.waiting import wait_until

NAMESPACE: Final = "clarion"
ORDER: Final = ("postgres", "redis", "migrate", "http-api", "ws-gateway", "notifier", "nginx")


class Pods:
    """The workloads of a rendering, one pod each, on a network of their own."""

    def __init__(self, manifests: Manifests, folder: Path) -> None:
        self.manifests = manifests
        self.folder = folder
        self.run = f"clarion-pods-{uuid4().hex[:8]}"
        self.port = free_port()
        folder.chmod(0o755)  # a container's user looks into it

    def name(self, workload: str) -> str:
        """A workload's container."""
        return f"{self.run}-{workload}"

    def start(self, workload: str) -> None:
        """Start a pod: its init containers one after the other, then its container; a Job is waited for."""
        (one,) = [one for one in self.manifests.of("Deployment", "StatefulSet", "Job") if self._is(one, workload)]
        containers = [container for container in self.manifests.containers if container.owner is one]
        for container in containers:
            is_server = one["kind"] != "Job"
            docker(
                "run", *(["-d", "--name", self.name(workload)] if is_server else ["--rm"]), *self._pod(one, workload),
                *self._options(container), *self._program(container), timeout_s=120,
            )  # fmt: skip
            if is_server:
                wait_until(lambda: self.is_ready(workload), 90, what=f"{workload} is ready")

    def is_ready(self, workload: str) -> bool:
        """Ask as the readiness probe does."""
        state = docker("inspect", "-f", "{{.State.Running}} {{.State.ExitCode}}", self.name(workload)).stdout.split()
        assert state[0] == "true", docker("logs", "--tail", "20", self.name(workload), check=False)
        return self._probe(workload, self.manifests.server(workload).spec["readinessProbe"])

    def is_live(self, workload: str) -> bool:
        """Ask as the liveness probe does."""
        return self._probe(workload, self.manifests.server(workload).spec["livenessProbe"])

    def _probe(self, workload: str, probe: dict[str, Any]) -> bool:
        if "exec" in probe:
            done = docker("exec", self.name(workload), *probe["exec"]["command"], check=False)
            return done.returncode == 0
        ports = {port["name"]: port["containerPort"] for port in self.manifests.server(workload).spec["ports"]}
        at = f'{{{{(index .NetworkSettings.Networks "{self.run}").IPAddress}}}}'
        address = docker("inspect", "-f", at, self.name(workload)).stdout.strip()
        asked = probe["httpGet"]
        connection = http.client.HTTPConnection(address, ports[asked["port"]], timeout=probe["timeoutSeconds"])
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", asked["path"])
            return connection.getresponse().status == http.HTTPStatus.OK
        return False

    @staticmethod
    def _is(one: Object, workload: str) -> bool:
        return bool(one["metadata"]["name"] == workload)

    def _pod(self, one: Object, workload: str) -> list[str]:
        context = pod_of(one)["securityContext"]
        service = [f"--network-alias={name}" for name in (workload, f"{workload}.{NAMESPACE}.svc.cluster.local")]
        group = [f"--group-add={context['fsGroup']}"] if "fsGroup" in context else []
        published = ["-p", f"127.0.0.1:{self.port}:8080"] if workload == "nginx" else []
        user = f"--user={context['runAsUser']}:{context['runAsGroup']}"
        return [f"--network={self.run}", *service, user, *group, *published, *self._mounts(one)]

    def _options(self, container: Container) -> list[str]:
        variables = {"POD": "pod-1", "NAMESPACE": NAMESPACE}
        for source in container.spec.get("envFrom", []):
            variables |= self.manifests.find("ConfigMap", source["configMapRef"]["name"])["data"]
        for variable in container.spec.get("env", []):
            found = variable.get("valueFrom", {})
            if reference := found.get("configMapKeyRef"):
                value = self.manifests.find("ConfigMap", reference["name"])["data"][reference["key"]]
            else:
                field = found.get("fieldRef", {}).get("fieldPath", "")
                value = variable.get("value", NAMESPACE if field.endswith("namespace") else "pod-1")
            variables[variable["name"]] = value.replace("$(NAMESPACE)", NAMESPACE)
        memory = container.spec["resources"]["limits"]["memory"].removesuffix("i").lower()
        hard = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--memory={memory}"]
        return [*hard, *(f"--env={name}={value}" for name, value in variables.items())]

    def _program(self, container: Container) -> list[str]:
        name = container.spec["image"]
        ours = name.removeprefix("clarion-").partition(":")[0]
        command: list[str] = container.spec.get("command", [])
        entrypoint = [f"--entrypoint={command[0]}"] if command else []
        return [
            *entrypoint,
            image(ours) if ours in (*SERVICES, "nginx") else name,
            *command[1:],
            *container.spec.get("args", []),
        ]

    def _mounts(self, one: Object) -> list[str]:
        pod = pod_of(one)
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        words = []
        user, group = pod["securityContext"]["runAsUser"], pod["securityContext"].get("fsGroup", 0)
        for mount in pod["containers"][0]["volumeMounts"]:
            volume = volumes.get(mount["name"], {})
            path = mount["mountPath"]
            if files := self._files(volume):
                words.append(f"--volume={self._folder(volume, files, group)}:{path}:ro")
            else:  # an emptyDir, or a claim's volume
                size = volume.get("emptyDir", {}).get("sizeLimit", "1Gi").removesuffix("i").lower()
                words.append(f"--tmpfs={path}:uid={user},gid={group or user},mode=1777,size={size}")
        return words

    def _files(self, volume: dict[str, Any]) -> dict[str, str]:
        if "configMap" in volume:
            return dict(self.manifests.find("ConfigMap", volume["configMap"]["name"])["data"])
        if "secret" in volume:
            return dict(self.manifests.find("Secret", volume["secret"]["secretName"])["plain"])
        return {}

    def _folder(self, volume: dict[str, Any], files: dict[str, str], group: int) -> Path:
        folder = self.folder / f"{volume['name']}-{uuid4().hex[:6]}"
        folder.mkdir(mode=0o755)
        mode = volume.get("secret", {}).get("defaultMode", 0o644)
        for name, content in files.items():
            file = folder / name
            file.write_text(content)
            if os.geteuid() == 0:  # else only everybody can be let in, as the group that we may not give
                os.chown(file, 0, group)
            file.chmod(mode if os.geteuid() == 0 else 0o444)
        return folder

    def end(self) -> None:
        """Remove all."""
        docker("rm", "-f", *(self.name(workload) for workload in ORDER), check=False)
        docker("network", "rm", self.run, check=False)


@pytest.fixture(scope="module")
def pods(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    """All pods of the local overlay, each started when the one before is ready."""
    tree = Tree(tmp_path_factory.mktemp("kustomize"))
    manifests = tree.render("overlays/local")
    for secret in manifests.of("Secret"):
        secret["plain"] = _decoded(secret["data"])
    folder = Path(tmp_path_factory.mktemp("volumes"))
    for parent in folder.parents[:2]:
        parent.chmod(0o755)
    made = Pods(manifests, folder)
    docker("network", "create", made.run)
    try:
        for workload in ORDER:
            made.start(workload)
        yield made
    finally:
        made.end()


def _decoded(data: dict[str, str]) -> dict[str, str]:
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def test_every_pod_is_ready_and_live(pods: Pods) -> None:
    """Under a read-only root, as its user, within its memory, with its Secret's files."""
    for workload in ORDER:
        if workload != "migrate":
            assert pods.is_ready(workload), workload
            assert pods.is_live(workload), workload


def test_the_whole_way_works(pods: Pods) -> None:
    """The smoke test through nginx: publish, receive, recover, notify, presence; Redis' user may do what that takes."""
    command = ["python", "-m", "http_api", "api_key_create", "--name", "smoke", "--scopes", "admin"]
    key = docker("exec", pods.name("http-api"), *command).stdout.split()[-1]
    done = subprocess.run(
        [ROOT / "deploy" / "scripts" / "smoke.sh", f"http://localhost:{pods.port}"],
        env={**os.environ, "CLARION_API_KEY": key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_pods_end_within_their_grace(pods: Pods) -> None:
    """SIGTERM (nginx: SIGQUIT) reaches the program, and its exit code is 0. preStop is Kubernetes' own, before that."""
    for workload in ("nginx", "ws-gateway", "notifier", "http-api", "redis", "postgres"):
        (one,) = [one for one in pods.manifests.of("Deployment", "StatefulSet") if one["metadata"]["name"] == workload]
        grace = pod_of(one)["terminationGracePeriodSeconds"]
        docker("stop", "-t", str(grace), pods.name(workload), timeout_s=grace + 30)
        state = docker("inspect", "-f", "{{.State.ExitCode}} {{.State.OOMKilled}}", pods.name(workload)).stdout.split()
        assert state == ["0", "false"], f"{workload}: {docker('logs', '--tail', '20', pods.name(workload)).stderr}"
