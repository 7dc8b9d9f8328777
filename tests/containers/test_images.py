"""The images: small, without secrets, and with nothing in them that their user may change."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.support.containers import ROOT, SERVICES, docker, image

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("images")]

OURS: Final = (*SERVICES, "nginx")
UNPACKED_BYTES: Final = 350_000_000
COMPRESSED_BYTES: Final = 200_000_000

WRITABLE: Final = {"/tmp", "/var/tmp", "/run/lock", "/var/lock", "/dev/shm", "/dev/mqueue"}
"""What anyone may write to in Debian's image; with a read-only root not even that, but for what is mounted."""

TOOLS: Final = ("pip", "pip3", "uv", "gcc", "cc", "make", "git", "hatchling")

SECRET: Final = re.compile(
    rb"clk_[A-Za-z0-9_-]{40,}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}"
    rb"|redis://:[^@\s\"'{}<>]{12,}@|postgres(?:ql)?://\w+:[^@\s\"'{}<>]{12,}@"
)
_PRIVATE_KEY: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_PACKAGES: Final = "site-packages/"  # of others, which hold the keys of their own tests and examples
_SECRET_NAME: Final = re.compile(r"(?:^|/)(?:\.env|\.netrc|\.pypirc|id_rsa|.*\.key|secrets/.+|\.git/.+|dev\.json)$")


def config(service: str) -> dict[str, Any]:
    """What ``docker image inspect`` says."""
    found: dict[str, Any] = json.loads(docker("image", "inspect", image(service)).stdout)[0]
    return found


def files_of(service: str) -> Iterator[tuple[str, bytes]]:
    """Every file of every layer that our Dockerfile adds, those that a later layer hides too."""
    base = "nginxinc/nginx-unprivileged:1.30" if service == "nginx" else "python:3.13-slim"
    below = len(json.loads(docker("image", "inspect", base).stdout)[0]["RootFS"]["Layers"])
    with tempfile.TemporaryFile() as saved:
        subprocess.run(["docker", "save", image(service)], stdout=saved, check=True, timeout=300)
        saved.seek(0)
        with tarfile.open(fileobj=saved) as archive:
            manifest = json.load(_member(archive, "manifest.json"))
            for layer in manifest[0]["Layers"][below:]:
                with tarfile.open(fileobj=_member(archive, layer)) as content:
                    for entry in content:
                        if entry.isfile() and (file := content.extractfile(entry)):
                            yield entry.name, file.read()


def _member(archive: tarfile.TarFile, name: str) -> io.BufferedIOBase:
    file = archive.extractfile(name)
    assert file is not None
    return file  # type: ignore[return-value]  # typeshed says IO[bytes]


@pytest.mark.parametrize("service", SERVICES)
def test_image_knows_the_public_authorities(service: str) -> None:
    """Where `sslrootcert` of the first deployment looks for them."""
    page = (ROOT / "docs" / "runbooks" / "first-deployment.md").read_text()
    (file,) = set(re.findall(r"sslrootcert=(/etc/[\w./-]+)", page))
    docker("run", "--rm", "--entrypoint", "test", image(service), "-s", file)


@pytest.mark.parametrize("service", OURS)
def test_image_is_small(service: str) -> None:
    """Under 350 MB unpacked, and under 200 MB as a registry would keep it."""
    assert config(service)["Size"] < UNPACKED_BYTES
    packer, size = zlib.compressobj(level=1), 0  # a registry's packs better
    with subprocess.Popen(["docker", "save", image(service)], stdout=subprocess.PIPE) as saved:
        assert saved.stdout
        while part := saved.stdout.read(1 << 20):
            size += len(packer.compress(part))
    size += len(packer.flush())
    print(f"{service}: {config(service)['Size'] / 1e6:.0f} MB, compressed {size / 1e6:.0f} MB")
    assert size < COMPRESSED_BYTES


@pytest.mark.parametrize("service", OURS)
def test_image_says_what_it_is(service: str) -> None:
    """A number as user, a command without a shell, a health check without one, a signal that stops it, labels."""
    made = config(service)["Config"]
    assert made["User"] == ("101:101" if service == "nginx" else "10001:10001")
    assert made["Cmd"][0] in ("gunicorn", "python", "nginx")
    assert made["Healthcheck"]["Test"][0] == "CMD"
    assert made.get("StopSignal", "SIGTERM") == ("SIGQUIT" if service == "nginx" else "SIGTERM")
    labels = {name.removeprefix("org.opencontainers.image.") for name in made["Labels"] or ()}
    assert {"title", "description", "licenses", "version", "revision"} <= labels
    assert not [each for each in made["Env"] if re.search(r"SECRET|PASSWORD|TOKEN|_URL=", each)]


@pytest.mark.parametrize("service", OURS)
def test_image_holds_no_secret(service: str) -> None:
    """In no layer of ours is a key, a password in a URL, or a file of a name that holds such things."""
    found, looked_at = [], 0
    for name, content in files_of(service):
        looked_at += 1
        if match := SECRET.search(content):
            found.append(f"{name}: {match[0][:30]!r}")
        if _PACKAGES not in name and _PRIVATE_KEY.search(content):
            found.append(f"{name}: a private key")
        if _SECRET_NAME.search(name):
            found.append(name)
    assert found == []
    assert looked_at > (5 if service == "nginx" else 1000)


@pytest.mark.parametrize("service", OURS)
def test_image_cannot_be_changed_by_its_user(service: str) -> None:
    """Even with a writable root its user can write to Debian's folders for everybody alone, and to no file."""
    look = "find / -xdev \\( -path /proc -o -path /sys \\) -prune -o ! -type l -writable -print 2>/dev/null; true"
    found = docker("run", "--rm", "--entrypoint", "sh", image(service), "-c", look).stdout.split()
    assert "/tmp" in found  # it did look
    assert set(found) - WRITABLE - {"/dev/pts", "/proc"} <= {each for each in found if each.startswith("/dev/")}


@pytest.mark.parametrize("service", SERVICES)
def test_image_has_no_tools_and_compiled_code(service: str) -> None:
    """Nothing installs or builds; all Python code of ours has its bytecode; the other services' is not there."""
    script = f"""
import importlib.util, pathlib, shutil
print([name for name in {TOOLS!r} if shutil.which(name)])
print([name for name in {TOOLS!r} if importlib.util.find_spec(name)])
sources = [path for path in pathlib.Path("/opt").rglob("*.py")]
print(sum(not pathlib.Path(importlib.util.cache_from_source(path)).exists() for path in sources), len(sources))
print(sorted(path.name for path in pathlib.Path("/opt/clarion").iterdir() if path.is_dir() and "." not in path.name))
"""
    said = docker("run", "--rm", "--entrypoint", "python", image(service), "-c", script).stdout.splitlines()
    commands, modules, compiled, packages = said
    assert (commands, modules) == ("[]", "[]")
    missing, sources = map(int, compiled.split())
    assert sources > 1000
    assert missing < sources // 100  # templates of code, which no Python can compile
    own = service.replace("-", "_")
    assert packages in (f"['clarion', '{own}']", f"['bin', 'clarion', '{own}']")


def test_context_holds_only_what_images_are_made_of() -> None:
    """Secrets, a checkout's state and its history are not sent to the builder."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert not [line for line in lines if line.startswith("!") and re.search(r"secrets|\.git|\.run|\.env|tests", line)]
