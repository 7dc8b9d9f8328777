"""Run a command and start it again whenever the checkout's code changes: ``reload.py COMMAND...``, for development.

Files are looked at, not watched: what a machine mounts into a virtual one tells of no change.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

FOLDERS = [Path(folder) for folder in os.environ["PYTHONPATH"].split(":")]
SUFFIXES = {".py", ".html", ".toml"}
LOOK_S = 0.5
STOP_S = 20


def state() -> dict[Path, int]:
    """When each file of the code was last changed."""
    found = {}
    for folder in FOLDERS:
        for path in folder.rglob("*"):
            if path.suffix in SUFFIXES:
                try:
                    found[path] = path.stat().st_mtime_ns
                except FileNotFoundError:  # an editor is just replacing it
                    continue
    return found


def stop(child: subprocess.Popen[bytes]) -> int:
    """End the command and return its exit code."""
    child.terminate()
    try:
        return child.wait(STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def main(command: list[str]) -> int:
    """Run it until a signal asks for the end; a command that ends by itself is started again after the next change."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(stop(child))

    child = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    seen = state()
    while True:
        time.sleep(LOOK_S)
        if (now := state()) != seen:
            changed = sorted({str(path) for path, _ in now.items() ^ seen.items()})
            print(f"reload: {', '.join(changed[:3])}", file=sys.stderr, flush=True)
            seen = now
            stop(child)
            child = subprocess.Popen(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
