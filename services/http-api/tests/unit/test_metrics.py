"""http_api.metrics: the workers' files and their folder."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

from prometheus_client.mmap_dict import MmapedDict, mmap_key

from http_api.metrics.collecting import WorkerFiles
from http_api.metrics.folder import PREFIX, MetricsFolder, left_remove


def counter_write(folder: Path, owner: str, value: float) -> None:
    """Write a worker's file with one counter."""
    written = MmapedDict(str(folder / f"counter_{owner}.db"))
    written.write_value(mmap_key("clarion_x", "clarion_x_total", ["a"], ["b"], "help"), value, 0.0)
    written.close()


def total(files: WorkerFiles) -> list[float]:
    """The counter's value, once for each series of it."""
    return [sample.value for metric in files.collect() for sample in metric.samples]


def test_dead_workers_numbers_are_kept_in_one_file(tmp_path: Path) -> None:
    """Their sum is the same before and after, whoever dies in whichever order."""
    files = WorkerFiles(tmp_path)
    assert total(files) == []
    for pid in (11, 12, 13):
        counter_write(tmp_path, str(pid), pid)
    assert total(files) == [36]
    for pid in (12, 11, 99):
        files.fold(pid)
        assert total(files) == [36]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counter_13.db", "counter_dead.db"]


def test_a_file_that_is_being_made_is_no_fault(tmp_path: Path) -> None:
    """It is empty for a moment, and for ever if its worker dies in that moment."""
    files = WorkerFiles(tmp_path)
    counter_write(tmp_path, "11", 1)
    (tmp_path / "counter_12.db").touch()
    assert total(files) == [1]
    files.fold(12)
    assert total(files) == [1]
    assert not (tmp_path / "counter_12.db").exists()


def test_left_folders_are_those_of_dead_masters(tmp_path: Path) -> None:
    """Known by their lock, whatever process id stands where: a folder in use stays, and so does what is not ours."""
    mine = MetricsFolder(tmp_path)
    left = tmp_path / f"{PREFIX}left"
    left.mkdir()
    (left / "counter_1.db").touch()
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(other)
    (tmp_path / f"{PREFIX}file").touch()
    left_remove(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [mine.path.name, "other", f"{PREFIX}link", f"{PREFIX}file"]
    )
    mine.remove()
    assert not mine.path.exists()


def test_a_worker_does_not_hold_its_masters_lock(tmp_path: Path) -> None:
    """A folder whose master is dead is left behind, though a worker still finishes its requests."""
    folder = MetricsFolder(tmp_path)
    context = multiprocessing.get_context("fork")
    ready, end = context.Event(), context.Event()

    def work() -> None:
        folder.forked()
        ready.set()
        end.wait(30)

    worker = context.Process(target=work)
    worker.start()
    try:
        assert ready.wait(30)
        left_remove(tmp_path)
        assert folder.path.exists()
        os.close(folder._lock)  # as the kernel does when the master is killed
        left_remove(tmp_path)
        assert not folder.path.exists()
    finally:
        end.set()
        worker.join(30)
