"""Server processes under test: started on a free port, watched, and ended by their own pid."""

from __future__ import annotations

import ctypes
import http.client
import io
import json
import os
import resource
import secrets
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.ports import free_port
from tests.support.waiting import wait_until

from .raw_client import DEADLINE_S, RawClient, TlsStream

HERE = Path(__file__).parent
LOG_TAIL = 4_000
FAULTS = ("Traceback (most recent call last)", "was never retrieved", "Task was destroyed", "was never awaited")
COMMANDS = {"clarion": ("-m", "clarion.server"), "daphne": ("-m", "daphne"), "launch": (str(HERE / "launch.py"),)}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class ServerProcess:
    """One running server. `fault_expected` is set by a test whose server must log a traceback."""

    process: subprocess.Popen[bytes]
    address: tuple[str, int] | str
    log_path: Path
    tls: ssl.SSLContext | None = None
    fault_expected: bool = False
    is_stock: bool = False  # daphne does not always end on SIGTERM (traps 37 and 40): it is killed
    clients: list[RawClient] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    # Clients.

    def dial(self, *, receive_buffer: int | None = None) -> RawClient:
        """Connect a raw client; the test's end closes it."""
        client = RawClient(self._stream(receive_buffer))
        self.clients.append(client)
        return client

    def open(self, path: str = "/ws/echo", *headers: str) -> RawClient:
        return self.dial().open(path, *headers)

    def url(self, path: str) -> str:
        assert not isinstance(self.address, str)
        return f"ws://{self.address[0]}:{self.address[1]}{path}"

    def _stream(self, receive_buffer: int | None = None) -> Any:
        sock = socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(DEADLINE_S)
        try:
            sock.connect(self.address)
            return TlsStream(sock, self.tls) if self.tls else sock
        except BaseException:
            sock.close()
            raise

    def request(
        self, path: str, *, method: str = "GET", body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Do one HTTP request on a connection of its own."""
        client = RawClient(self._stream())
        given = {"Host": "localhost", "Connection": "close", **(headers or {})}
        if body:
            given["Content-Length"] = str(len(body))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        client.send(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        try:
            return read_answer(client, method)
        finally:
            client.close()

    def control(self, operation: str, /, **arguments: Any) -> Any:
        """Call a control operation of `apps.py` in the server's process."""
        answer = self.request(f"/control/{operation}", method="POST", body=json.dumps(arguments).encode())
        assert answer.status == 200, (operation, answer.body.decode())
        return answer.json()

    def block(self, seconds: float, **then: Any) -> RawClient:
        """Make the server's loop stand still, and then do what `controls.block` does; return once it stands still."""
        client = self.dial()
        marker = self.log_path.with_name(secrets.token_hex(6))
        body = json.dumps({"seconds": seconds, "marker": str(marker), **then}).encode()
        client.send(b"POST /control/block HTTP/1.1\r\nHost: localhost\r\n")
        client.send(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        wait_until(marker.exists)
        return client

    # What the application saw.

    def journal(self, name: str) -> list[Any]:
        """What the application noted under a connection's name, in order."""
        return list(self.control("journal", name=name))

    def wait_for(self, name: str, *event: Any, timeout_s: float = DEADLINE_S) -> list[Any]:
        """Wait until a note that starts with `event` is there, and return it."""

        def find() -> list[Any] | None:
            return next((note for note in self.journal(name) if note[: len(event)] == list(event)), None)

        try:
            return wait_until(find, timeout_s) or []
        except AssertionError:
            raise AssertionError(f"no {event} within {timeout_s} s in {self.journal(name)}") from None

    # The process.

    def descriptor(self, client: RawClient) -> int | None:
        """Return the server's descriptor number of a client's connection; None when it holds none."""
        assert not isinstance(self.address, str)
        local, remote = f":{self.address[1]:04X}", f":{client.port:04X}"
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[1].endswith(local) and columns[2].endswith(remote):
                return self._descriptors().get(f"socket:[{columns[9]}]")
        return None

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def _descriptors(self) -> dict[str, int]:
        found = {}
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            try:
                found[os.readlink(entry)] = int(entry.name)
            except FileNotFoundError:
                continue  # closed since the listing
        return found

    def memory_bytes(self) -> int:
        """Return the resident set's size."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def cpu_ns(self) -> int:
        """Return the CPU time that its threads have taken."""
        return sum(
            int(task.joinpath("schedstat").read_text().split()[0]) for task in Path(f"/proc/{self.pid}/task").iterdir()
        )

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float = DEADLINE_S) -> int:
        """Wait for the end and return the exit code."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server still runs after {timeout_s} s:\n{self.log[-LOG_TAIL:]}") from None

    def end(self) -> None:
        """Close the clients and end the process; a server that needs SIGKILL is a failure."""
        for client in self.clients:
            client.close()
        if self.process.poll() is None:
            self.process.kill() if self.is_stock else self.process.terminate()
            try:
                self.process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"the server did not end on SIGTERM:\n{self.log[-LOG_TAIL:]}") from None

    def assert_no_fault(self, since: int = 0) -> None:
        text = self.log[since:]
        if not self.fault_expected:
            assert not any(fault in text for fault in FAULTS), f"the server logged a fault:\n{text[-LOG_TAIL:]}"


def read_answer(client: RawClient, method: str = "GET") -> Answer:
    """Read one HTTP answer from a client, chunked or not; what follows it is lost."""
    response = http.client.HTTPResponse(_Readable(client), method=method)  # type: ignore[arg-type]
    response.begin()
    headers = tuple((name.lower(), value) for name, value in response.getheaders())
    return Answer(response.status, headers, response.read())


class _Readable(io.RawIOBase):
    """A client's stream as the socket that `HTTPResponse` asks for."""

    def __init__(self, client: RawClient) -> None:
        self.client = client

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        data = self.client.stream.recv(len(target))
        target[: len(data)] = data
        return len(data)


def start_server(
    folder: Path,
    *options: str,
    kind: str = "clarion",
    app: str = "apps:application",
    address: tuple[str, int] | str | None = None,
    tls: ssl.SSLContext | None = None,
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
    files: tuple[int, int] | None = None,
    ready: bool = True,
) -> ServerProcess:
    """Start a server process and wait until it answers.

    Without `address` it listens on a free port of 127.0.0.1; with one, `options` say how it listens. `files` is
    the soft and hard limit of open files that it starts with.
    """
    bound = address is None
    place = ("127.0.0.1", free_port()) if address is None else address
    where = ("-b", place[0], "-p", str(place[1])) if bound else ()
    log_path = folder / f"{kind}-{secrets.token_hex(4)}.log"
    path = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), str(HERE))))
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *COMMANDS[kind], *where, *options, app],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
            preexec_fn=lambda: _before_exec(files),
        )
    server = ServerProcess(process, place, log_path, tls, is_stock=kind == "daphne")
    if ready:
        _wait_until_ready(server)
    return server


def _before_exec(files: tuple[int, int] | None) -> None:
    if files:
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a killed test run leaves no server


def _wait_until_ready(server: ServerProcess) -> None:
    def answers() -> bool:
        assert server.process.poll() is None, f"the server ended at once:\n{server.log}"
        try:
            return server.request("/ready").status > 0
        except (OSError, http.client.HTTPException):
            return False

    try:
        wait_until(answers, 40.0, what="readiness")
    except AssertionError:
        server.process.kill()
        server.process.wait()
        raise
