"""``migrate``, one at a time."""

from __future__ import annotations

from clarion.migration_lock import LockedMigrate


class Command(LockedMigrate):
    """Django's ``migrate``; a second one waits for the first."""
