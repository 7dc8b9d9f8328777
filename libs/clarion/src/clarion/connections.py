"""How every Redis connection of Clarion is made.

redis-py 8's defaults break Channels: a read timeout of 5 s kills blocking reads, three blind retries double a
publication, a pool of 100 raises in a reconnect storm. So every option that matters is explicit, in this one place.

Source: ADR-0001.
"""

from __future__ import annotations

from typing import Any, Final, TypedDict

from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)
"""What a call to Redis raises when Redis is away, slow or refuses."""


class ConnectionOptions(TypedDict):
    """Keyword arguments of a redis-py connection, sync or async."""

    protocol: int
    socket_timeout: float
    socket_connect_timeout: float
    retry: Any


def sync_options(timeout_s: float) -> ConnectionOptions:
    """Options of a blocking connection: each step answers within ``timeout_s``, nothing is sent twice."""
    return _options(timeout_s, Retry(NoBackoff(), 0))


def async_options(timeout_s: float) -> ConnectionOptions:
    """Options of an asyncio connection: each step answers within ``timeout_s``, nothing is sent twice."""
    return _options(timeout_s, AsyncRetry(NoBackoff(), 0))


def _options(timeout_s: float, retry: Any) -> ConnectionOptions:
    return {
        # RESP2: the same on Redis 7.0 and 8, and no maintenance-notification handshake on every connection.
        "protocol": 2,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        # After the bytes have left, redis-py's own retry would publish a second time.
        "retry": retry,
    }
