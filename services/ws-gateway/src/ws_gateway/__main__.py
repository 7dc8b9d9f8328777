"""``python -m ws_gateway``: run one gateway until SIGTERM. Its settings are environment variables; see README.md."""

from __future__ import annotations

import argparse
import sys

from clarion import __version__


def main() -> int:
    """Run the service and return its exit code: 0 after a drain, 1 if it cannot start, 78 for a bad environment."""
    parser = argparse.ArgumentParser(prog="python -m ws_gateway", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    parser.parse_args()
    from ws_gateway.service import run  # sets Django up, with the environment checked

    return run()


if __name__ == "__main__":
    sys.exit(main())
