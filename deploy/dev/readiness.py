"""Wait until every program is ready, or say which one is not and why."""

from __future__ import annotations

import http.client
import socket
import threading
import time
import xmlrpc.client
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from clarion.env import EXIT_CONFIG
from deploy.dev.services import Program

DEADLINE_S: Final = 90.0
"""For all programs together; they start at once."""

MAX_STARTS: Final = 3
"""A program that ended so often before it was ready will not become ready."""

_POLL_S: Final = 0.05


class Readiness(threading.Thread):
    """Polls all programs in a thread of its own, so that their log lines go on meanwhile.

    When it has ended, ``failure`` is what went wrong, or "" when everything was ready; ``code`` is its exit code.
    """

    def __init__(self, programs: Sequence[Program], supervisor_socket: Path) -> None:
        super().__init__(daemon=True)
        self.failure = ""
        self.code = 1
        self._programs = programs
        self._socket = supervisor_socket
        self._starts: dict[str, set[int]] = {}
        self._is_cancelled = threading.Event()

    def cancel(self) -> None:
        """Stop waiting: the run is being stopped."""
        self._is_cancelled.set()

    def run(self) -> None:
        """Wait for one program after the other; the order does not matter, all must be ready."""
        end = time.monotonic() + DEADLINE_S
        for program in self._programs:
            while not program.is_ready():
                if self._is_cancelled.wait(_POLL_S):
                    return
                self.failure = self._hopeless() or self._late(program, end)
                if self.failure:
                    return

    def _late(self, program: Program, end: float) -> str:
        return f"{program.name} was not ready within {DEADLINE_S:.0f} s" if time.monotonic() > end else ""

    def _hopeless(self) -> str:
        for info in self._infos():
            name = str(info["name"])
            if info["exitstatus"] == EXIT_CONFIG:
                self.code = EXIT_CONFIG
                return f"{name} refuses its configuration"
            starts = self._starts.setdefault(name, set())
            starts.add(int(info["start"]))
            if len(starts) > MAX_STARTS:
                return f"{name} does not start: {info['spawnerr'] or 'it ends at once, see its lines above'}"
        return ""

    def _infos(self) -> list[Any]:
        # The supervisor itself may not listen yet.
        with suppress(OSError, http.client.HTTPException, xmlrpc.client.Error), _Supervisor(self._socket) as supervisor:
            infos = supervisor.supervisor.getAllProcessInfo()
            return infos if isinstance(infos, list) else []
        return []


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=2)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self._path)


class _Supervisor(xmlrpc.client.ServerProxy):
    def __init__(self, path: Path) -> None:
        super().__init__("http://localhost", transport=_UnixTransport(path))
