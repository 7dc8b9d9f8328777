"""Fixtures of the library's tests."""

from __future__ import annotations

from pathlib import Path

from tests.support.databases import (  # noqa: F401 - fixtures
    database,
    django_prepare,
    postgresql_database,
    postgresql_template,
    sqlite_database,
    sqlite_template,
)

django_prepare("tests.settings", Path(__file__).parents[1])
