"""pytest fixtures that every package's tests can use; the workspace's ``conftest.py`` loads them."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.support import postgres_server as postgres
from tests.support import product as whole
from tests.support import redis_server as redis


@pytest.fixture(scope="session")
def shared_redis_url() -> Iterator[str]:
    """URL of a Redis that stays up for this session.

    Other tests use it, too: keep to a random prefix (:func:`layer_prefix`) and never flush it.
    """
    with redis.redis_server() as server:
        yield server.url


@pytest.fixture
def redis_server() -> Iterator[redis.RedisServer]:
    """A Redis for one test alone, which may stop, pause and restart it."""
    with redis.redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.PostgresServer]:
    """A PostgreSQL server for this session."""
    with postgres.postgres_server() as server:
        yield server


@pytest.fixture
def layer_prefix() -> str:
    """A random prefix of Redis names, so that tests run side by side."""
    return f"t{uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def product() -> Iterator[whole.Product]:
    """The whole product with two gateways, for all tests of this session: leave it running and its data alone."""
    with whole.product() as made:
        yield made


@pytest.fixture
def own_product() -> Iterator[whole.Product]:
    """A product for one test alone, not started; whatever is left of it is ended."""
    made = whole.Product()
    try:
        yield made
    finally:
        made.destroy()
