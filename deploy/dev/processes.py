"""Find and end what belongs to one run, and nothing else.

Every process is started with a random token of its run folder in its environment. nginx alone overwrites its
environment (for its title); it is known by its name and its working folder inside the run folder.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import psutil

TOKEN_VARIABLE: Final = "CLARION_INSTANCE"  # noqa: S105 - the name of a variable


def processes_of(token: str, run_dir: Path) -> list[psutil.Process]:
    """Return the living processes of a run, this one left out."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and _is_of(process, token, run_dir):
                found.append(process)
    return found


def _is_of(process: psutil.Process, token: str, run_dir: Path) -> bool:
    if process.status() == psutil.STATUS_ZOMBIE:
        return False
    if _environ(process).get(TOKEN_VARIABLE) == token:
        return True
    return process.name() == "nginx" and Path(process.cwd()) == (run_dir / "nginx").resolve()


def _environ(process: psutil.Process) -> dict[str, str]:
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ()
    return {}


def end_all(find: Callable[[], Sequence[psutil.Process]], deadline_s: float) -> int:
    """SIGTERM everything that ``find`` returns, wait, then SIGKILL what is left; return how many were killed.

    Signals go to process ids that were just looked up; psutil checks that an id was not given to another process.
    """
    found = find()
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    psutil.wait_procs(found, timeout=deadline_s)
    return kill_all(find)


def kill_all(find: Callable[[], Sequence[psutil.Process]]) -> int:
    """SIGKILL everything that ``find`` returns until it returns nothing; return how many were killed."""
    killed = 0
    for _ in range(20):  # each may have started another in the meantime
        if not (found := find()):
            break
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
                killed += 1
        psutil.wait_procs(found, timeout=2)
    return killed


def describe(processes: Sequence[psutil.Process]) -> str:
    """Name processes for a person: ``nginx 12, python 34``."""
    names = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            names.append(f"{process.name()} {process.pid}")
    return ", ".join(names)


def python() -> str:
    """The interpreter that runs this, for the services too."""
    return sys.executable
