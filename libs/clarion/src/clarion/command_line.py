"""The command ``clarion``.

Source: docs/how-to/configure-channels.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from clarion.check_config import channel_report, config_report
from clarion.env import EXIT_CONFIG, production_problems
from clarion.errors import ConfigInvalid, NamespaceUnknown
from clarion.namespaces import ClarionConfig, config_load

_EXIT_CHANNEL_UNKNOWN: Final = 1


class _Env(BaseSettings):
    """What the command takes from the environment."""

    model_config = SettingsConfigDict(env_prefix="CLARION_", env_ignore_empty=True, frozen=True, extra="ignore")

    config: Path | None = None
    environment: Literal["development", "production"] | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    0; 1 if the channel asked for is not defined; 2 on wrong arguments; 78 on a wrong configuration.
    """
    asked = _arguments(arguments)
    try:
        env = _Env()
    except ValidationError as exc:
        return _refuse([f"CLARION_{str(error['loc'][0]).upper()}: {error['msg']}" for error in exc.errors()])
    path: Path | None = asked.config or env.config
    try:
        config = config_load(path) if path else ClarionConfig()
    except ConfigInvalid as exc:
        return _refuse(exc.problems)
    if env.environment == "production" and (problems := list(production_problems(config.client))):
        return _refuse([f"{path}: {problem}" for problem in problems])
    lines = list(config_report(config, path))
    if asked.channel is not None:
        lines += channel_report(config, asked.channel, asked.user)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0 if asked.channel is None or _is_defined(config, asked.channel) else _EXIT_CHANNEL_UNKNOWN


def _is_defined(config: ClarionConfig, channel: str) -> bool:
    try:
        config.options_of(channel)
    except NamespaceUnknown:
        return False
    return True


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.user is not None and asked.channel is None:
        parser.error("--user needs --channel: what a user may do depends on the channel")
    return asked


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="clarion")
    commands = parser.add_subparsers(required=True, metavar="command")
    check = commands.add_parser(
        "check-config",
        help="check a clarion.toml and say what it means",
        description="Check a clarion.toml: all problems at once, exit code 78. With a channel, print what holds for it "
        "and who may do what there, and why; exit code 1 if it is not defined.",
    )
    check.add_argument("--config", type=Path, metavar="FILE", help="the file; else the one of CLARION_CONFIG")
    check.add_argument("--channel", metavar="NAME", help="a channel, e.g. chat:lobby")
    check.add_argument(
        "--user", metavar="ID", action="append", help='a user id, may be repeated; "" is a client without one'
    )
    return parser


def _refuse(problems: list[str]) -> int:
    sys.stderr.write("".join(f"{problem}\n" for problem in problems))
    return EXIT_CONFIG


def run() -> None:
    """The console script."""
    sys.exit(main())
