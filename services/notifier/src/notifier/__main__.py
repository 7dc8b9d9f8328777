"""``python -m notifier``: run a notifier until SIGTERM. It takes its settings from the environment; see README.md."""

from __future__ import annotations

import argparse
import os
import sys

import django

from clarion import __version__


def main() -> int:
    """Run the service and return its exit code: 0 after a clean stop, 78 for a bad environment."""
    parser = argparse.ArgumentParser(prog="python -m notifier", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notifier.settings.base")
    django.setup()
    from clarion.env import refused_exit
    from notifier.env import env
    from notifier.service import run

    refused_exit(env)
    return run(env)


if __name__ == "__main__":
    sys.exit(main())
