"""docker-compose.yml, its override files and the Dockerfiles, read as text: no engine is needed."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
import yaml

from clarion.namespaces import config_load
from clarion.server.drain import CANCEL_S, HOOK_S

ROOT: Final = Path(__file__).resolve().parents[2]
FILES: Final = [ROOT / "docker-compose.yml", *sorted((ROOT / "deploy" / "compose").glob("*.yml"))]
DOCKERFILES: Final = sorted([*ROOT.glob("services/*/Dockerfile"), *ROOT.glob("deploy/*/Dockerfile")])
SERVICES: Final = [path for path in DOCKERFILES if path.parent.parent.name == "services"]

_DOCUMENTED: Final = (ROOT / "docs" / "reference" / "environment.md").read_text()
_PINS: Final = re.compile(r"^ARG (\w+_VERSION)=(\S+)$", re.MULTILINE)


@pytest.mark.parametrize("file", [*FILES, *DOCKERFILES], ids=lambda path: str(path.relative_to(ROOT)))
def test_variables_are_documented(file: Path) -> None:
    """Whatever a file reads from the caller, or sets for a container, has a row in the reference."""
    names = set(re.findall(r"\b(?:CLARION|LOAD)_[A-Z_]+\b", file.read_text()))
    assert {name for name in names if f"`{name}`" not in _DOCUMENTED} == set()


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_images_have_versions(file: Path) -> None:
    """No image is `latest`, and none of others is named without a tag."""
    images = re.findall(r"^\s+image: (\S+)$", file.read_text(), re.MULTILINE)
    assert [image for image in images if image.endswith(":latest") or ":" not in image] == []


def test_services_are_built_alike() -> None:
    """The three services' files pin the same tools, and uv is the one that bootstrap.sh installs."""
    pins = [dict(_PINS.findall(path.read_text())) for path in SERVICES]
    assert len(pins) == 3
    assert pins[0] == pins[1] == pins[2]
    bootstrap = (ROOT / "deploy" / "scripts" / "bootstrap.sh").read_text()
    assert f"readonly UV_VERSION={pins[0]['UV_VERSION']} " in bootstrap


def test_channels_of_compose_are_valid() -> None:
    """The clarion.toml that Compose mounts is one, and has what the smoke test needs."""
    config = config_load(ROOT / "deploy" / "compose" / "clarion.toml")
    chat = next(namespace for namespace in config.channel.namespaces if namespace.name == "chat")
    assert chat.has_history
    assert chat.presence
    assert chat.force_recovery


@pytest.mark.parametrize("page", ["deploy/compose/clarion.toml", "docs/how-to/run-in-containers.md"])
def test_changed_channels_take_effect_by_the_command_that_is_told(page: str) -> None:
    """Compose does not look into a mounted file: the command starts again each service that reads it, and no other."""
    services = yaml.safe_load(FILES[0].read_text())["services"]
    readers = {
        name
        for name, service in services.items()
        if "clarion_toml" in str(service.get("configs", "")) and service["restart"] != "no"
    }
    text = re.sub(r"\n# ", " ", (ROOT / page).read_text())
    told = re.findall(r"docker compose restart ([a-z -]+[a-z])[`\n]", text)
    assert readers in [set(names.split()) for names in told]


def test_gateway_has_the_time_to_drain() -> None:
    """Docker kills after the grace: it is over the sum of the settings and of what the server adds."""
    service = yaml.safe_load(FILES[0].read_text())["services"]["ws-gateway"]
    source = (ROOT / "services" / "ws-gateway" / "src" / "ws_gateway" / "env.py").read_text()
    defaults = dict(re.findall(r"drain_(wait_s|s|grace_s): float = Field\(default=([\d.]+)", source))
    assert len(defaults) == 3
    assert not [name for name in service["environment"] if name.startswith("CLARION_DRAIN_")]
    takes_s = sum(map(float, defaults.values())) + HOOK_S + 3 * CANCEL_S
    assert float(service["stop_grace_period"].removesuffix("s")) >= takes_s + 5


def test_numbers_of_compose_have_a_reason() -> None:
    """A limit, a size or a time of docker-compose.yml says why it is so large, beside it or in the line above."""
    limits = re.compile(
        r"pids_limit|max-size|size=\d|shm_size|stop_grace|start_period|retention|soft: \d|_S: \d|_REQUESTS|replicas"
    )
    lines = FILES[0].read_text().splitlines()
    without = [
        line.strip()
        for above, line in pairwise(lines)
        if limits.search(line.partition("#")[0]) and "#" not in line and not above.strip().startswith("#")
    ]
    assert [line for line in without if "_PER_S: ${" not in line] == []  # whose defaults are nginx's image's
