"""What a result must say of the machine and the programs: no more than others need to judge it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.load.nchan import nchan_versions
from tests.load.node_packages import socketio_versions

_PACKAGES: Final = (
    "django",
    "channels",
    "channels-redis",
    "daphne",
    "Twisted",
    "autobahn",
    "uvloop",
    "websockets",
    "redis",
    "hiredis",
    "gunicorn",
    "djangorestframework",
)


def cpu_model() -> str:
    """The processor's name, as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")


def versions() -> str:
    """Versions of all that takes part."""
    redis = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    programs = [f"Python {platform.python_version()}", f"Redis {redis.partition('v=')[2].split()[0]}"]
    packages = [f"{name} {version(name)}" for name in _PACKAGES]
    return ", ".join([*programs, *packages, *socketio_versions(), *nchan_versions()])


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def load_average() -> float:
    """How many processes wanted a core in the last minute."""
    return os.getloadavg()[0]
