"""``python -m deploy.dev up`` and ``down``."""

from __future__ import annotations

import argparse
import sys

from deploy.dev.env import config_check, dev_env_load


def main() -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.dev", description=__doc__)
    parser.add_argument("command", choices=["up", "down"], help="run the product here, or stop it")
    command = parser.parse_args().command
    env = dev_env_load()
    if command == "down":
        from deploy.dev.down import down

        return down(env)
    config_check(env)
    from deploy.dev.up import up

    return up(env)


if __name__ == "__main__":
    sys.exit(main())
