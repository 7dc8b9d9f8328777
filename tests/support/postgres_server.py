"""A real PostgreSQL for tests, on a free port, its data gone after."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.child import child_start, child_stop
from tests.support.ports import free_port
from tests.support.waiting import wait_until

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",  # the data lives as long as the test run
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
}


def postgres_program(name: str) -> Path:
    """Find a program of the newest PostgreSQL: on ``PATH``, or where Debian keeps them.

    Raises:
        FileNotFoundError: none is installed; the text says how to.
    """
    if found := shutil.which(name):
        return Path(found)
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    if not debian:
        raise FileNotFoundError(f"{name}: PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return debian[-1]


class PostgresServer:
    """One PostgreSQL server process with a cluster of its own; the role ``clarion`` may do everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        # PostgreSQL refuses to run as root.
        self._uid_gid = _unprivileged() if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What the server wrote."""
        return (self.folder / "postgres.log").read_text(errors="replace")

    def url(self, database: str = "postgres") -> str:
        """The URL of one database, as ``DATABASE_URL`` takes it."""
        return f"postgres://clarion@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Make the cluster the first time, start the server and wait until it answers."""
        if self._uid_gid:
            os.chown(self.folder, *self._uid_gid)
        data = self.folder / "data"
        if not data.exists():
            init: list[str | Path] = [
                "-D",
                data,
                "-U",
                "clarion",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ]
            self._run([postgres_program("initdb"), *init])
        settings = [f"-c{name}={value}" for name, value in _SETTINGS.items()]
        program: list[str | Path] = [postgres_program("postgres"), "-D", data]
        command = [*program, "-p", str(self.port), "-k", self.folder, *settings]
        self._process = child_start(command, self.folder / "postgres.log", cwd=self.folder, uid_gid=self._uid_gid)
        wait_until(self._answers, what="PostgreSQL answers")

    def stop(self, *, hard: bool = False) -> None:
        """End it; SIGTERM waits for clients, so the fast shutdown is asked for at once."""
        if self._process:
            if not hard and self._process.poll() is None:
                self._process.send_signal(2)  # SIGINT: fast shutdown, open connections are cut
            child_stop(self._process, hard=hard)
            self._process = None

    def database_create(self, name: str) -> str:
        """Make an empty database and return its URL."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)

    def tls_start(self, key: Path, certificate: Path, *, by: str = "") -> None:
        """Speak TLS, too, to whoever asks for it; call it while the server runs. ``by``: a superuser's URL."""
        by = by or self.url()
        for source, name in ((key, "server.key"), (certificate, "server.crt")):
            target = self.folder / "data" / name
            shutil.copyfile(source, target)
            target.chmod(0o600)  # of the server's own user, else it refuses the key
            if self._uid_gid:
                os.chown(target, *self._uid_gid)
        with psycopg.connect(by, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET ssl = on")
            connection.execute("SELECT pg_reload_conf()")
        wait_until(lambda: self._speaks_tls(by), what="PostgreSQL speaks TLS")

    def _speaks_tls(self, by: str) -> bool:
        try:
            psycopg.connect(by, sslmode="require", connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, command: Sequence[str | Path]) -> None:
        child = child_start(command, self.folder / "postgres.log", cwd=self.folder, uid_gid=self._uid_gid)
        if child.wait(120):
            raise AssertionError(f"{command[0]} failed:\n{self.log}")

    def _answers(self) -> bool:
        if self._process and self._process.poll() is not None:
            raise AssertionError(f"PostgreSQL ended with code {self._process.returncode}:\n{self.log}")
        try:
            psycopg.connect(self.url(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a PostgreSQL for the length of a ``with`` block."""
    folder = Path(tempfile.mkdtemp(prefix="clarion-postgres-"))
    server = PostgresServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> tuple[int, int]:
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return user.pw_uid, user.pw_gid
    raise LookupError("PostgreSQL refuses to run as root and this system has neither a postgres nor a nobody user")
