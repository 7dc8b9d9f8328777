"""Ids of rows and publications: UUIDv7, so that they sort by time and an index on them grows at its end.

Source: RFC 9562 section 5.7.
"""

from __future__ import annotations

from uuid import UUID

import uuid_utils.compat


def uuid7() -> UUID:
    """A new id. A function of our own, because Django writes a default's module path into migrations."""
    return uuid_utils.compat.uuid7()
