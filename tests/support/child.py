"""Child processes of tests: started with their output in a file, ended for certain."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def child_start(
    command: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    uid_gid: tuple[int, int] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own; stdout and stderr are appended to ``log``.

    On Linux the kernel ends it when the main thread that started it ends, so that a killed test run leaves nothing. Not
    so from another thread: the kernel would take the end of that for the end of the run.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=_before_exec(uid_gid),
        )


def child_stop(child: subprocess.Popen[bytes], *, deadline_s: float = 20, hard: bool = False) -> int:
    """Send SIGTERM (``hard``: SIGKILL), wait, then SIGKILL what is left of its group; return the exit code."""
    if child.poll() is None:
        child.send_signal(signal.SIGKILL if hard else signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(deadline_s)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    return child.wait(deadline_s)


def _before_exec(uid_gid: tuple[int, int] | None) -> Callable[[], None]:
    is_main = threading.current_thread() is threading.main_thread()
    libc = ctypes.CDLL(None) if sys.platform == "linux" and is_main else None

    def before_exec() -> None:
        if uid_gid:
            os.setgroups([])
            os.setgid(uid_gid[1])
            os.setuid(uid_gid[0])
        if libc:
            libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG; a change of uid clears it, so it comes last

    return before_exec
