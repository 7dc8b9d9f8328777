"""The numbers of all workers, as the master shows them.

Import it once ``PROMETHEUS_MULTIPROC_DIR`` is set: prometheus_client looks then, and the workers inherit what it saw.

Source: prometheus_client's documentation, "Multiprocess Mode".
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prometheus_client.core import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from clarion.internal import Handler
from clarion.metrics import gauge, metrics_response, registry


def metrics_handler(files: WorkerFiles, workers: Callable[[], int]) -> Handler:
    """The handler of ``GET /metrics``.

    Args:
        workers: how many there are now.
    """
    found = registry("http-api", files, WorkersCollector(workers))
    return lambda _request: metrics_response(found)


class WorkersCollector(Collector):
    """The worker processes."""

    def __init__(self, workers: Callable[[], int]) -> None:
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        yield gauge("clarion_http_workers", "Worker processes.", self._workers())


class WorkerFiles(Collector):
    """What the workers wrote, summed up; those of before included, so that no counter falls when one is replaced."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        # A worker is not forked in the middle of a scrape, with whatever lock that holds.
        os.register_at_fork(
            before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._lock.release
        )

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client."""
        with self._lock:
            # A file is empty in the moment in which a worker makes it.
            files = [str(path) for path in self._folder.glob("*.db") if path.stat().st_size]
            found: Iterable[Metric] = MultiProcessCollector.merge(files)
        return found

    def fold(self, pid: int) -> None:
        """Add what a dead worker wrote to what all dead ones did, and remove its files.

        prometheus_client itself keeps them for ever: with ``CLARION_HTTP_MAX_REQUESTS`` thousands a day.
        """
        with self._lock:
            mark_process_dead(pid, str(self._folder))
            for path in self._folder.glob(f"*_{pid}.db"):
                _add(path, self._folder / f"{path.name.partition('_')[0]}_dead.db")
                path.unlink()


def _add(path: Path, target: Path) -> None:
    """Add a file's counters and buckets to another's; both are sums."""
    if not path.stat().st_size:  # killed before its first number
        return
    total = MmapedDict(str(target))
    for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
        total.write_value(key, total.read_value(key)[0] + value, 0.0)
    total.close()
