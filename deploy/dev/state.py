"""What ``make up`` keeps between starts, in the run folder: secrets, ports, and what was prepared.

Everything there is readable by its owner alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from clarion.env import DEVELOPMENT_SECRET_PREFIX

_SOCKET_PATH_BYTES: Final = 100  # the kernel allows 107


class AlreadyRunning(Exception):
    """Another ``make up`` uses this run folder."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        super().__init__(f"process {pid}")


def development_secret() -> str:
    """Make a secret that production refuses."""
    return DEVELOPMENT_SECRET_PREFIX + secrets.token_urlsafe(32)


@dataclass
class State:
    """The kept values; missing ones are made."""

    instance: str = field(default_factory=lambda: secrets.token_hex(16))
    """In the environment of every process of this run folder."""
    secret_key: str = field(default_factory=development_secret)
    token_secret: str = field(default_factory=development_secret)
    redis_password: str = field(default_factory=development_secret)
    admin_password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    admin_id: str = ""
    api_key: str = ""
    prepared: str = ""
    """What the database was prepared for; see :func:`deploy.dev.prepare.stamp`."""
    ports: dict[str, int] = field(default_factory=dict)


class RunDir:
    """The paths below the run folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path / "log"
        self.nginx = path / "nginx"
        self.redis = path / "redis"
        self.database = path / "clarion.sqlite3"
        self.dev_json = path / "dev.json"
        self.supervisor_conf = path / "supervisord.conf"
        self._state = path / "state.json"
        self._lock = path / "lock"

    def create(self) -> None:
        """Make the folders, closed to other users."""
        self.path.mkdir(parents=True, exist_ok=True)
        for folder in (self.path, self.log, self.nginx, self.redis):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)

    def supervisor_socket(self, instance: str) -> Path:
        """The supervisor's control socket; elsewhere if the run folder's path is too long for one."""
        inside = self.path / "supervisor.sock"
        return inside if len(os.fsencode(inside)) < _SOCKET_PATH_BYTES else Path(f"/tmp/clarion-{instance[:12]}.sock")  # noqa: S108

    def state_load(self) -> State:
        """Read the kept values; a damaged or missing file counts as a first start."""
        with suppress(OSError, ValueError, TypeError):
            kept = json.loads(self._state.read_text())
            return State(**{known.name: kept[known.name] for known in fields(State) if known.name in kept})
        return State()

    def state_save(self, state: State) -> None:
        """Keep the values for the next start."""
        write_private(self._state, json.dumps(asdict(state), indent=2))

    def dev_json_write(self, values: dict[str, Any]) -> None:
        """Write what scripts, tests and benchmarks need to reach this run."""
        write_private(self.dev_json, json.dumps(values, indent=2) + "\n")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run folder; the kernel lets go of it when this process ends, however it ends.

        Raises:
            AlreadyRunning: another process holds it.
        """
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(int(os.pread(descriptor, 20, 0) or b"0")) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def holder(self) -> int:
        """Return the process id of the ``make up`` that holds the run folder; 0 if none does."""
        try:
            with self.locked():
                return 0
        except AlreadyRunning as exc:
            return exc.pid
        except FileNotFoundError:
            return 0


def write_private(path: Path, text: str) -> None:
    """Write a whole file that only its owner may read; a reader sees the old one or the new one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)
