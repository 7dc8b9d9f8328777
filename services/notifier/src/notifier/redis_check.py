"""Whether Redis answers: for readiness, and to know when an outage is over."""

from __future__ import annotations

from redis.asyncio import Redis

from clarion.connections import REDIS_ERRORS, async_options
from clarion.refusals import redis_reason


class RedisUnavailable(Exception):
    """A shard did not answer in time, or refused; the text is :func:`clarion.refusals.redis_reason`'s."""


class RedisCheck:
    """A connection to each shard, kept open."""

    def __init__(self, urls: list[str], timeout_s: float) -> None:
        self._shards = [Redis.from_url(url, **async_options(timeout_s)) for url in urls]

    async def ping(self) -> None:
        """Ask every shard.

        Raises:
            RedisUnavailable: one of them is away.
        """
        for shard in self._shards:
            try:
                await shard.ping()
            except REDIS_ERRORS as exc:
                raise RedisUnavailable(redis_reason(exc)) from exc

    async def close(self) -> None:
        """Close the connections."""
        for shard in self._shards:
            await shard.aclose()
