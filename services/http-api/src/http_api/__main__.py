"""``python -m http_api``: Django's management commands (migrate, createsuperuser, api_key_create, ...)."""

from __future__ import annotations

import os

from clarion.management import command_run


def main() -> None:
    """Run one management command."""
    # Django finds its settings by this variable alone; a deployment may name others.
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "http_api.settings.base")
    command_run("python -m http_api")


if __name__ == "__main__":
    main()
