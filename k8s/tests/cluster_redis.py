"""A real Redis, started as the StatefulSet of the local overlay starts it."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import redis

from tests.support.child import child_start, child_stop
from tests.support.ports import free_port

from .manifests import Manifests, Tree


class ClusterRedis:
    """redis-server as the StatefulSet starts it, but on a free port and in a folder of the test."""

    def __init__(self, local: Manifests, tree: Tree, folder: Path, *, file_kib: int = 0) -> None:
        """Args: ``file_kib``: no file grows over it, as on a disk that is full; 0 is no limit."""
        self.port = free_port()
        self.users = folder / "users.acl"
        self.users.write_text(_understood((tree.secrets / "users.acl").read_text()))
        config = folder / "redis.conf"
        config.write_text(local.find("ConfigMap", "redis-config")["data"]["redis.conf"])
        places = {"/etc/redis/redis.conf": config, "/run/redis/users.acl": self.users, "/data": folder}
        arguments = [str(places.get(word, word)) for word in local.server("redis").spec["args"]]
        self.log = folder / "redis.log"
        # Not ended by the signal, as a full disk sends none; 1 KiB is a block of this shell's.
        full = ["bash", "-c", f'trap "" XFSZ; ulimit -f {file_kib}; exec "$@"', "bash"] if file_kib else []
        self.child = child_start([*full, *arguments, "--port", str(self.port)], self.log, cwd=folder)

    def client(self, user: str, password: str) -> redis.Redis:
        """A client that signs in so."""
        return redis.Redis(port=self.port, username=user, password=password, socket_timeout=5)

    def admin_password(self) -> str:
        """The password of the user `admin`, for people."""
        (password,) = re.findall(r"^user admin .*>(\S+)", self.users.read_text(), re.MULTILINE)
        return password

    def admin(self) -> redis.Redis:
        """A client that may do everything."""
        return self.client("admin", self.admin_password())

    def probe(self, command: list[str], *, deadline_s: float = 20) -> int:
        """The exit code of a probe's command, which is for the port that a container has.

        Raises:
            TimeoutError: it had not ended after ``deadline_s``; now it has.
        """
        asked = child_start([command[0], "-p", str(self.port), *command[1:]], self.users.with_name("probe.log"))
        try:
            return asked.wait(deadline_s)
        except subprocess.TimeoutExpired:
            child_stop(asked, hard=True)
            raise TimeoutError from None

    def suspend(self) -> None:
        """It keeps its port and answers nothing."""
        self.child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on."""
        self.child.send_signal(signal.SIGCONT)

    def answers(self) -> bool:
        """Whether the probe's user is told PONG."""
        assert self.child.poll() is None, self.log.read_text()
        try:
            return bool(self.client("probe", "probe").ping())
        except redis.ConnectionError:
            return False


def _understood(users: str) -> str:
    """Without the one command that a Redis before 7.2 does not know, where it is this machine's: the cluster's is 8."""
    said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    (major, minor) = re.findall(r" v=(\d+)\.(\d+)", said)[0]
    return users if (int(major), int(minor)) >= (7, 2) else users.replace("+client|setinfo ", "")
