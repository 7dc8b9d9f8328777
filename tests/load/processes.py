"""Measured processes: on which cores they run, what CPU time and memory they take."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

QUIET_BUSY: Final = 0.25
"""A server that uses less than this share of its core has finished what it was given (idle sweeps take less)."""


@dataclass(frozen=True)
class Cores:
    """Which cores the measured server has for itself, and which all else (generator, Redis) runs on."""

    server: frozenset[int]
    load: frozenset[int]

    @property
    def are_apart(self) -> bool:
        """Whether server and generator do not share a core."""
        return not self.server & self.load


def cores_split() -> Cores:
    """Give the first core to the server and the others to the load; a machine with one core shares it."""
    available = sorted(os.sched_getaffinity(0))
    return Cores(frozenset(available[:1]), frozenset(available[1:] or available))


@contextmanager
def on_cores(cores: frozenset[int]) -> Iterator[None]:
    """Pin this process, and so all that it starts meanwhile, to ``cores``."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def files_raise() -> int:
    """Raise this process's limit of open files to the most it may have, for itself and its children; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def cpu_s(pids: Sequence[int]) -> float:
    """CPU seconds that processes have used so far, all threads, in nanosecond steps (``/proc`` has 10 ms steps)."""
    # Linux's CPU clock of another process: see clock_getcpuclockid(3).
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def core_busy_s(cores: frozenset[int]) -> float:
    """Seconds that some cores were not idle since the system's start, whoever used them, in steps of 10 ms."""
    names = {f"cpu{core}" for core in cores}
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu")]
    # user nice system idle iowait irq softirq steal: proc(5)
    ticks = sum(int(line[column]) for line in lines if line[0] in names for column in (1, 2, 3, 6, 7, 8))
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_bytes(pids: Sequence[int]) -> int:
    """Resident memory of processes."""
    return sum(int(psutil.Process(pid).memory_info().rss) for pid in pids)


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


@dataclass(frozen=True)
class Usage:
    """CPU seconds within ``wall_s``."""

    wall_s: float
    server_s: float
    generator_s: float
    redis_s: float
    others_s: float

    @property
    def server_busy(self) -> float:
        """Share of the server's core."""
        return self.server_s / self.wall_s

    @property
    def others_busy(self) -> float:
        """Share of the server's core that something else used: it should have been the server's alone."""
        return max(0.0, self.others_s / self.wall_s)

    def load_busy(self, cores: int) -> float:
        """Share of the load's cores: generator and Redis."""
        return (self.generator_s + self.redis_s) / self.wall_s / cores


def usage_sum(usages: Sequence[Usage]) -> Usage:
    """Add up what was used in several stretches of time."""
    return Usage(
        sum(usage.wall_s for usage in usages),
        sum(usage.server_s for usage in usages),
        sum(usage.generator_s for usage in usages),
        sum(usage.redis_s for usage in usages),
        sum(usage.others_s for usage in usages),
    )


class Meter:
    """Reads CPU clocks from its making on."""

    def __init__(
        self, server: Sequence[int], generator: Sequence[int], redis: Sequence[int], server_cores: frozenset[int]
    ) -> None:
        # This process publishes and deals out work: it counts as generator.
        self._groups = (list(server), [*generator, os.getpid()], list(redis))
        self._cores = server_cores
        self._start = time.monotonic(), [cpu_s(group) for group in self._groups], core_busy_s(server_cores)

    def read(self) -> Usage:
        """What was used since."""
        start_s, before, busy_before_s = self._start
        now = [cpu_s(group) for group in self._groups]
        server, generator, redis = (after - was for after, was in zip(now, before, strict=True))
        wall_s = time.monotonic() - start_s
        others = core_busy_s(self._cores) - busy_before_s - server
        return Usage(wall_s, server, generator, redis, others)


def wait_quiet(pids: Sequence[int], deadline_s: float = 10.0) -> None:
    """Wait until processes have hardly used CPU for 0.3 s, or until the deadline."""
    end, calm = time.monotonic() + deadline_s, 0
    before, at = cpu_s(pids), time.monotonic()
    while calm < 3 and at < end:
        time.sleep(0.1)
        now, now_at = cpu_s(pids), time.monotonic()
        calm = calm + 1 if (now - before) / (now_at - at) < QUIET_BUSY else 0
        before, at = now, now_at
