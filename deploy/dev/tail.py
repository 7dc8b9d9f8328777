"""Read the lines that are added to log files, across their rotation."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

_READ_BYTES: Final = 1 << 20
_MAX_LINE_BYTES: Final = 65_536


class Tail:
    """The new lines of one file, from its present end on; it need not exist yet."""

    def __init__(self, path: Path, *, truncate_at_bytes: int = 0) -> None:
        """Args: ``truncate_at_bytes``: empty a file that has grown past this; for a writer that rotates nothing."""
        self._path = path
        self._truncate_at_bytes = truncate_at_bytes
        self._file: BinaryIO | None = None
        self._rest = b""
        with suppress(OSError):
            self._file = path.open("rb")
            self._file.seek(0, 2)

    def lines(self) -> list[str]:
        """Return the whole lines that were added since the last call."""
        if not self._file and not self._open():
            return []
        added = self._read()
        if not added and self._has_moved() and self._open():
            added = self._read()
        *whole, self._rest = (self._rest + added).split(b"\n")
        if len(self._rest) > _MAX_LINE_BYTES:
            whole, self._rest = [*whole, self._rest], b""
        return [line.decode(errors="replace") for line in whole if line.strip()]

    def close(self) -> None:
        """Let go of the file."""
        if self._file:
            self._file.close()

    def _open(self) -> bool:
        self.close()
        self._file = None
        with suppress(OSError):
            self._file = self._path.open("rb")
        return self._file is not None

    def _read(self) -> bytes:
        assert self._file
        added = self._file.read(_READ_BYTES)
        if not added and self._truncate_at_bytes and self._file.tell() > self._truncate_at_bytes:
            # The writer appends (O_APPEND), so it goes on at the new end; a line written this moment may be lost.
            with self._path.open("r+b") as file:
                file.truncate(0)
            self._file.seek(0)
        return added

    def _has_moved(self) -> bool:
        """Whether the path is another file by now, or shorter than what was read: it was rotated."""
        assert self._file
        try:
            now, opened = self._path.stat(), self._file.seek(0, 1)
        except OSError:
            return False
        return now.st_ino != os.fstat(self._file.fileno()).st_ino or now.st_size < opened
