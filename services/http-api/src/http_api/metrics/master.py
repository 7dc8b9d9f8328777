"""gunicorn's master: the internal port, and the workers' files. The functions are gunicorn's hooks (gunicorn.conf.py).

Source: gunicorn's documentation, "Server Hooks".
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from clarion.internal import InternalServer
from http_api.env import env
from http_api.metrics.folder import MetricsFolder, left_remove

if TYPE_CHECKING:
    from http_api.metrics.collecting import WorkerFiles

log = structlog.stdlib.get_logger(__name__)

EXIT_PORT_TAKEN: Final = 1


class Master:
    """What the master keeps beside its workers."""

    def __init__(self, arbiter: Any, internal: InternalServer) -> None:
        """Make the workers' folder where their heartbeats are, and answer on the internal port."""
        base = Path(arbiter.cfg.worker_tmp_dir or tempfile.gettempdir())
        left_remove(base)
        self._internal = internal
        self._folder = MetricsFolder(base)
        # Read by prometheus_client when it is imported: now, and not before.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self._folder.path)
        from clarion.metrics import METRICS
        from http_api.metrics.collecting import WorkerFiles, metrics_handler

        self.files: WorkerFiles = WorkerFiles(self._folder.path)
        self._internal.routes[METRICS] = metrics_handler(self.files, lambda: len(arbiter.WORKERS))
        self._internal.start()

    def forked(self) -> None:
        """Close in a worker what is the master's: a worker that outlives it must not keep the port."""
        self._internal.stop()
        self._folder.forked()

    def stop(self) -> None:
        """Close the port, remove the files."""
        self._internal.stop()
        self._folder.remove()


_master: Master | None = None


def when_ready(arbiter: Any) -> None:
    """Start, before the first worker is forked."""
    global _master
    try:
        internal = InternalServer(env.internal_host, env.internal_port)
    except OSError as exc:
        log.error("internal_port.taken", host=env.internal_host, port=env.internal_port, error=exc.strerror)
        sys.exit(EXIT_PORT_TAKEN)
    _master = Master(arbiter, internal)


def post_fork(_arbiter: Any, _worker: Any) -> None:
    """Leave what is the master's."""
    if _master is not None:
        _master.forked()


def child_exit(_arbiter: Any, worker: Any) -> None:
    """Keep a dead worker's numbers."""
    if _master is None:
        return
    try:
        _master.files.fold(worker.pid)
    except Exception as exc:  # noqa: BLE001 - the master's boundary: what a hook raises ends it, and with it every worker
        log.error("worker_metrics.lost", worker=worker.pid, error=repr(exc))


def on_exit(_arbiter: Any) -> None:
    """Stop, when the last worker has ended."""
    if _master is not None:
        _master.stop()
