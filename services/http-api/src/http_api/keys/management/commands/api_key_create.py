"""``api_key_create``: make an API key from a script."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from http_api.errors import KeyInvalid
from http_api.keys.scopes import Scope, scopes_parse
from http_api.keys.selectors import key_caller
from http_api.keys.services import key_create


class Command(BaseCommand):
    """Make an API key and print it, once."""

    help = "Make an API key and print it: the only time that it is seen."

    def add_arguments(self, parser: CommandParser) -> None:
        """``--name``, ``--scopes``, ``--file``."""
        parser.add_argument("--name", required=True, help="who holds the key")
        parser.add_argument("--scopes", required=True, help=f"with commas between: {', '.join(Scope.values)}")
        parser.add_argument(
            "--file",
            type=Path,
            help="keep the key in this file (mode 0600); if it holds a valid key already, print that one and make none",
        )

    def handle(self, *, name: str, scopes: str, file: Path | None, **_options: Any) -> None:
        """Print the key on stdout, alone on a line."""
        try:
            wanted = scopes_parse(scopes)
        except ValueError as exc:
            raise CommandError(f"--scopes: {exc}; there are {', '.join(Scope.values)}") from exc
        key = _kept(file, wanted) if file else None
        if key is None:
            _, key = key_create(name, wanted)
            if file:
                _keep(file, key)
        self.stdout.write(key)


def _kept(file: Path, wanted: frozenset[Scope]) -> str | None:
    """The file's key, if it is still valid and may do what is asked for."""
    try:
        key = file.read_text(encoding="utf-8").strip()
        caller = key_caller(key)
    except (FileNotFoundError, KeyInvalid):
        return None
    return key if all(caller.may(scope) for scope in wanted) else None


def _keep(file: Path, key: str) -> None:
    file.unlink(missing_ok=True)  # an old file's mode might be wider
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(key + "\n")
