"""The npm packages of the servers that are compared with: installed from the lock file on first use."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Final

SOCKETIO: Final = Path(__file__).parent / "socketio"
_DEADLINE_S: Final = 180


class PackagesMissing(Exception):
    """A server cannot be run here; the text says what it needs."""


def socketio_install() -> None:
    """Install what ``socketio/server.js`` needs, unless it is there as the lock file says.

    Raises:
        PackagesMissing: no node or npm on this machine, or npm cannot fetch the packages.
    """
    installed, wanted = SOCKETIO / "node_modules" / ".package-lock.json", SOCKETIO / "package-lock.json"
    if not shutil.which("node"):
        raise PackagesMissing("node is not on this machine: no figures of Socket.IO")
    if installed.exists() and installed.stat().st_mtime >= wanted.stat().st_mtime:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise PackagesMissing("npm is not on this machine: no figures of Socket.IO")
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(command, cwd=SOCKETIO, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    except subprocess.TimeoutExpired as exc:
        raise PackagesMissing(f"npm ci in {SOCKETIO} took over {_DEADLINE_S} s") from exc
    if done.returncode:
        raise PackagesMissing(f"npm ci in {SOCKETIO} failed: {done.stderr.strip()[-500:]}")


def socketio_versions() -> list[str]:
    """Of Node.js and of what the server's package.json names, as they are installed."""
    if not shutil.which("node"):
        return []
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    wanted = json.loads((SOCKETIO / "package.json").read_text())["dependencies"]
    locked = json.loads((SOCKETIO / "package-lock.json").read_text())["packages"]
    return [f"Node.js {node[1:]}", *(f"{name} {locked[f'node_modules/{name}']['version']}" for name in wanted)]
