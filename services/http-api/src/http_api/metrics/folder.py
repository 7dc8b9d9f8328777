"""The folder through which workers tell the master what they count: one for each gunicorn, private, gone with it.

It is locked for as long as its master lives. By that lock the next master tells what a killed one left behind; process
ids would not do: in a container each master's is 1, and a pod's containers share ``/dev/shm``.

Source: flock(2); prometheus_client's documentation, "Multiprocess Mode".
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

import structlog

log = structlog.stdlib.get_logger(__name__)

PREFIX: Final = "clarion-http-api-"


class MetricsFolder:
    """An empty folder that only this user may enter.

    Attributes:
        path: where it is.
    """

    def __init__(self, base: Path) -> None:
        """Make it.

        Raises:
            OSError: ``base`` cannot be written to.
        """
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
            lock = _lock(self.path)
            if lock is not None:
                self._lock = lock
                return
            # Another master took it for left behind, in the moment before the lock.

    def forked(self) -> None:
        """Let go of the lock in a worker: it is the master's."""
        os.close(self._lock)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def left_remove(base: Path) -> None:
    """Remove this user's folders whose masters are dead."""
    for path in base.glob(f"{PREFIX}*"):
        lock = _lock(path)
        if lock is None:
            continue
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)
        log.info("metrics_folder.removed", path=str(path))


def _lock(path: Path) -> int | None:
    """Lock a folder of this user's, until the returned descriptor is closed; None if it is gone, or somebody's."""
    try:
        # Anybody may put something of that name into /dev/shm.
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if os.fstat(folder).st_uid == os.geteuid():
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_dir():
                return folder
    except BlockingIOError:
        pass
    os.close(folder)
    return None
