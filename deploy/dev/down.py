"""``make down``: stop a run that was left, whatever of it is still there."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import Final

from deploy.dev.env import DevEnv
from deploy.dev.processes import describe, end_all, processes_of
from deploy.dev.state import RunDir

_STOP_WAIT_S: Final = 130.0
_LEFT_WAIT_S: Final = 45.0


def down(env: DevEnv) -> int:
    """Stop the run of this run folder; return the exit code."""
    run_dir = RunDir(env.run_dir)
    was_held = _stop_holder(run_dir)
    token = run_dir.state_load().instance
    left = processes_of(token, run_dir.path)
    if left:
        print(f"Stopping {describe(left)} ...", flush=True)
        end_all(lambda: processes_of(token, run_dir.path), _LEFT_WAIT_S)
    print("Clarion has stopped." if was_held or left else "Clarion is not running.")
    return 0


def _stop_holder(run_dir: RunDir) -> bool:
    """Ask the ``make up`` that holds the run folder to stop, and wait for its end."""
    pid = run_dir.holder()
    if not pid:
        return False
    print(f"Stopping `make up` (process {pid}) ...", flush=True)
    end = time.monotonic() + _STOP_WAIT_S
    # The id is certain: whoever holds the lock wrote it there.
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    while run_dir.holder() == pid:
        if time.monotonic() > end:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.1)
    return True
