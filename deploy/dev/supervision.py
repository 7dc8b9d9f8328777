"""The supervisor's configuration, and the supervisor itself: what dies is started again on the same port.

``python -m deploy.dev.supervision -c supervisord.conf`` is PyPI's ``supervisord`` with three rules of its own: the wait
between tries is bounded, a program that died takes what it had started with it, and the end of one is seen at once.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from supervisor import poller, process, supervisord
from supervisor.states import ProcessStates

from deploy.dev.services import Program
from deploy.dev.state import RunDir, write_private

MAX_BACKOFF_S: Final = 10
"""Longest wait before a program that cannot start is tried again; it begins at 1 s and grows by 1 s."""

START_S: Final = 5
"""A program that ends sooner than this after its start did not start: the next try waits."""

POLL_S: Final = 0.1
"""How often it looks for signals and for programs that ended; each of the three steps of a stop waits for that."""

_SERVICES: Final = "clarion"


class PromptPoller(poller.Poller):  # type: ignore[misc]  # supervisor has no types
    """Wakes up often: since PEP 475 a signal does not end supervisord's wait of a second."""

    def poll(self, timeout: float) -> tuple[list[int], list[int]]:
        """Wait for output of the programs, at most ``POLL_S``."""
        ready: tuple[list[int], list[int]] = super().poll(min(timeout, POLL_S))
        return ready


class KeptProcess(process.Subprocess):  # type: ignore[misc]  # supervisor has no types
    """A supervised program that is tried for ever, and leaves no orphans."""

    delay: float

    def change_state(self, new_state: int, expected: bool = True) -> bool | None:
        """Bound the wait that supervisord lets grow with each failed start."""
        changed: bool | None = super().change_state(new_state, expected)
        if new_state == ProcessStates.BACKOFF:
            self.delay = min(self.delay, time.time() + MAX_BACKOFF_S)
        return changed

    def finish(self, pid: int, status: int) -> None:
        """End what the program left behind: workers of a killed nginx would hold its port for ever."""
        super().finish(pid, status)
        # supervisord forgets it if a program ended too soon; deploy.dev.readiness asks for it.
        self.exitstatus: int | None = os.waitstatus_to_exitcode(status)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # each program leads a group of its own


def supervisor_conf_write(run_dir: RunDir, instance: str, programs: Sequence[Program]) -> None:
    """Write ``supervisord.conf``.

    The services stop together and first, so that their last words still pass nginx; then nginx; Redis last.
    """
    services = [program for program in programs if program.name not in ("redis", "nginx")]
    sections = [
        _head(run_dir, instance),
        *(_program(run_dir, program) for program in programs),
        _section(f"group:{_SERVICES}", {"programs": ",".join(program.name for program in services), "priority": "30"}),
    ]
    write_private(run_dir.supervisor_conf, "\n".join(sections))


def _head(run_dir: RunDir, instance: str) -> str:
    socket = str(run_dir.supervisor_socket(instance))
    return "\n".join(
        [
            _section("unix_http_server", {"file": socket, "chmod": "0600"}),
            _section("supervisorctl", {"serverurl": f"unix://{socket}"}),
            _section(
                "rpcinterface:supervisor",
                {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
            ),
            _section(
                "supervisord",
                {
                    "nodaemon": "true",
                    "silent": "true",
                    "logfile": str(run_dir.log / "supervisor.log"),
                    "logfile_maxbytes": "1MB",
                    "logfile_backups": "1",
                    "pidfile": str(run_dir.path / "supervisord.pid"),
                    "childlogdir": str(run_dir.log),
                    **({"user": "root"} if os.geteuid() == 0 else {}),
                },
            ),
        ]
    )


def _program(run_dir: RunDir, program: Program) -> str:
    return _section(
        f"program:{program.name}",
        {
            "command": shlex.join(program.command),
            "directory": str(program.folder),
            "environment": ",".join(f'{name}="{value}"' for name, value in program.env.items()),
            "priority": {"redis": "10", "nginx": "20"}.get(program.name, "30"),
            "autorestart": "true",
            "startsecs": str(START_S),
            "startretries": "1000000000",
            "stopsignal": "TERM",
            "stopwaitsecs": str(program.stop_wait_s),
            "killasgroup": "true",
            "redirect_stderr": "true",
            # the supervisor expands this one twice
            "stdout_logfile": str(run_dir.log / f"{program.name}.log").replace("%", "%%"),
            "stdout_logfile_maxbytes": "5MB",
            "stdout_logfile_backups": "1",
        },
    )


def _section(name: str, values: dict[str, str]) -> str:
    lines = [f"{key}={value.replace('%', '%%')}" for key, value in values.items() if value]
    return "\n".join([f"[{name}]", *lines, ""])


def supervisor_command(conf: Path) -> list[str]:
    """The arguments that follow the interpreter."""
    return ["-m", "deploy.dev.supervision", "-c", str(conf)]


if __name__ == "__main__":
    process.Subprocess = KeptProcess
    poller.Poller = PromptPoller
    supervisord.main()
