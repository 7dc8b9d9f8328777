"""``python -m http_api``: Django's management commands (migrate, createsuperuser, api_key_create, ...)."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    """Run one management command."""
    # Django finds its settings by this variable alone; a deployment may name others.
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "http_api.settings.base")
    execute_from_command_line(["python -m http_api", *sys.argv[1:]])


if __name__ == "__main__":
    main()
