"""Migrated databases for tests: a fresh one each, SQLite and PostgreSQL alike, that Django and child processes share.

Not pytest-django's test database: that one wraps a test in a transaction, and what is tested here are transactions.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import django
import psycopg
import pytest

from tests.support.postgres_server import PostgresServer


@dataclass(frozen=True, slots=True)
class Database:
    """One database; ``vendor`` is Django's word for its kind."""

    url: str
    vendor: str


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """A migrated database of each kind, in use by Django in this test."""
    kind: Database = request.getfixturevalue(f"{request.param}_database")
    return kind


@pytest.fixture
def sqlite_database(sqlite_template: Path, tmp_path: Path, django_db_blocker: Any) -> Iterator[Database]:
    """A migrated SQLite file, in use by Django in this test."""
    copy = tmp_path / "database.sqlite3"
    shutil.copyfile(sqlite_template, copy)
    database = Database(f"sqlite:///{copy}", "sqlite")
    with django_db_blocker.unblock(), database_used(database.url):
        yield database


@pytest.fixture
def postgresql_database(
    postgres_server: PostgresServer, postgresql_template: str, django_db_blocker: Any
) -> Iterator[Database]:
    """A migrated PostgreSQL database, in use by Django in this test."""
    name = f"t_{uuid4().hex}"
    with psycopg.connect(postgres_server.url(), autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{postgresql_template}"'.encode())
    database = Database(postgres_server.url(name), "postgresql")
    with django_db_blocker.unblock(), database_used(database.url):
        yield database


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "template.sqlite3"
    with django_db_blocker.unblock():
        database_migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgres_server: PostgresServer, django_db_blocker: Any) -> str:
    """The name of a migrated PostgreSQL database to copy."""
    name = f"template_{uuid4().hex}"
    with django_db_blocker.unblock():
        database_migrate(postgres_server.database_create(name))
    return name


def database_migrate(url: str) -> None:
    """Apply every migration of the configured apps."""
    from django.core.management import call_command

    with database_used(url):
        call_command("migrate", verbosity=0)


@contextmanager
def database_used(url: str) -> Iterator[None]:
    """Make this Django's default database, for all threads, for the length of a ``with`` block."""
    from django.db import connections

    from clarion.settings import database_options

    before = connections.settings["default"]
    _forget(connections)
    connections.settings["default"] = connections.configure_settings({"default": database_options(url)})["default"]
    try:
        yield
    finally:
        _forget(connections)
        connections.settings["default"] = before


def _forget(connections: Any) -> None:
    """Close this thread's connection; the next use makes one by the settings of then."""
    connections["default"].close()
    del connections["default"]


def django_prepare(settings_module: str, folder: Path | None = None) -> None:
    """Set Django up for a package's tests, by these settings unless the run has named others.

    A ``conftest.py`` calls it before test modules import models.

    Args:
        folder: where the settings are found, if they are not installed.
    """
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings_module)
    django.setup()
