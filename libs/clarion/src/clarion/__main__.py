"""``python -m clarion``: the command ``clarion``, also where no console script is installed, as in the images."""

from __future__ import annotations

from clarion.command_line import run

if __name__ == "__main__":
    run()
