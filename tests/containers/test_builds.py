"""The builds: a change of our code makes one new layer, in seconds, and fetches nothing."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Final

import pytest

from tests.support.containers import ROOT, SERVICES, docker

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("images")]

TAG: Final = "clarion-rebuilt:test"
REBUILT_WITHIN_S: Final = 15


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what images are made of, to change."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "uv.lock", ".dockerignore"):
        shutil.copy(ROOT / name, copy)
    for name in ("libs", "services", "deploy"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    return copy


def build(checkout: Path, service: str) -> tuple[list[str], float]:
    """Build an image as documented; return its layers, and how long it took."""
    began = time.monotonic()
    docker("build", "-f", str(checkout / "services" / service / "Dockerfile"), "-t", TAG, str(checkout))
    seconds = time.monotonic() - began
    layers: list[str] = json.loads(docker("image", "inspect", TAG).stdout)[0]["RootFS"]["Layers"]
    return layers, seconds


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("changed", ["library", "service"])
def test_change_of_code_rebuilds_in_seconds(checkout: Path, service: str, changed: str) -> None:
    """All layers but the last stay as they are: a registry and a node that have them fetch that one alone."""
    package = service.replace("-", "_")
    source = {
        "library": checkout / "libs" / "clarion" / "src" / "clarion" / "__init__.py",
        "service": checkout / "services" / service / "src" / package / "__init__.py",
    }[changed]
    try:
        before, _ = build(checkout, service)
        source.write_text(f"{source.read_text()}CHANGED = {time.monotonic_ns()}\n")
        after, seconds = build(checkout, service)
        print(f"{service}: {seconds:.1f} s after a change of the {changed}")
        assert seconds < REBUILT_WITHIN_S
        assert after[:-1] == before[:-1]
        assert after[-1] != before[-1]
        look = f"import {'clarion' if changed == 'library' else package} as changed; print(changed.CHANGED)"
        assert int(docker("run", "--rm", "--entrypoint", "python", TAG, "-c", look).stdout) > 0
    finally:
        docker("image", "rm", "--force", TAG, check=False)
