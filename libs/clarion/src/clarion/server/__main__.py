"""``python -m clarion.server module:application``."""

from __future__ import annotations

from clarion.server.cli import main

main()
