"""Fixtures of the notifier's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import (  # noqa: F401 - fixtures
    Database,
    database,
    django_prepare,
    postgresql_database,
    postgresql_template,
    sqlite_database,
    sqlite_template,
)
from tests.support.notifier_process import Ear, NotifierProcess, OpenEar, StartNotifier
from tests.support.redis_server import RedisServer

django_prepare("notifier.settings.test")
# The notifier's own environment, also where the run has named another service's settings.
from notifier.settings import test as _settings  # noqa: E402, F401


@pytest.fixture
def start(database: Database, redis_server: RedisServer, tmp_path: Path) -> Iterator[StartNotifier]:  # noqa: F811
    """Start notifiers on this test's database and Redis; ``wait=False`` does not wait for readiness."""
    started: list[NotifierProcess] = []

    def factory(*, wait: bool = True, **options: str) -> NotifierProcess:
        notifier = NotifierProcess(tmp_path, database.url, redis_server.url, **options)
        started.append(notifier)
        return notifier.start(wait=wait)

    yield factory
    for notifier in started:
        notifier.stop(hard=True)
        assert "Traceback" not in notifier.log, notifier.log
        assert '"exc_type"' not in notifier.log, notifier.log


@pytest.fixture
def listen(redis_server: RedisServer) -> Iterator[OpenEar]:
    """Open an ear; a Redis that was stopped needs a new one."""
    ears: list[Ear] = []

    def factory() -> Ear:
        ears.append(Ear(redis_server.url))
        return ears[-1]

    yield factory
    for ear in ears:
        ear.close()


@pytest.fixture
def ear(listen: OpenEar) -> Ear:
    """An ear from the test's beginning on."""
    return listen()
