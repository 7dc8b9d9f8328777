"""How often a subscribe waits for Redis, felt on one that is far away."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from clarion.publisher import Publisher
from tests.support.protocol_client import ProtocolClient, protocol_client
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until_async

from .conftest import GatewayProcess, running_gateway, token_for
from .far_redis import FarRedis

pytestmark = pytest.mark.timeout(120)

DELAY_S = 0.6
"""Of one round trip; what else a loaded machine adds stays under it."""

CONFIG = """
[[channel.namespaces]]
name = "plain"
allow_subscribe_for_client = true
[[channel.namespaces]]
name = "kept"
history_size = 100
history_ttl = "300s"
force_recovery = true
allow_subscribe_for_client = true
[[channel.namespaces]]
name = "seen"
presence = true
join_leave = true
allow_subscribe_for_client = true
[[channel.namespaces]]
name = "both"
history_size = 100
history_ttl = "300s"
force_recovery = true
presence = true
join_leave = true
allow_subscribe_for_client = true
"""


@pytest.fixture
def far(redis_server: RedisServer) -> Iterator[FarRedis]:
    """The way to a Redis; near until a test moves it away."""
    with FarRedis(redis_server.port).running() as far:
        yield far


@pytest.fixture
def gateway(far: FarRedis, migrated_database: Path, tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway whose Redis is to be far away. It has no deadlines that this would break."""
    patience = {"CLARION_REDIS_TIMEOUT_S": "5", "CLARION_JOIN_TIMEOUT_S": "10"}
    with running_gateway(tmp_path, far.url, migrated_database, config=CONFIG, **patience) as gateway:
        yield gateway
        far.delay_s = 0.0  # its end takes no longer than others'


@pytest.fixture
async def client(gateway: GatewayProcess) -> AsyncIterator[ProtocolClient]:
    """A client that has joined ``<namespace>:here`` of each, so that scripts are loaded and connections open."""
    async with protocol_client(f"http://127.0.0.1:{gateway.port}", token_for("1")) as client:
        for namespace in ("plain", "kept", "seen", "both"):
            await client.subscribe(f"{namespace}:here")
        yield client


async def trips(far: FarRedis, client: ProtocolClient, channel: str, **fields: object) -> int:
    """Subscribe, and count the round trips by the time that they took.

    It begins behind a heartbeat, which goes the same way as presence: who comes with one waits for it, too.
    """
    beats = far.beats
    await wait_until_async(lambda: far.beats > beats, what="a heartbeat goes by")
    far.delay_s = DELAY_S
    began = time.monotonic()
    await client.subscribe(channel, **fields)
    took_s = time.monotonic() - began
    far.delay_s = 0.0
    return int(took_s / DELAY_S)


async def test_subscribe_without_history_or_presence_waits_for_redis_once_per_channel(
    gateway: GatewayProcess, far: FarRedis, client: ProtocolClient
) -> None:
    """For a channel that the process has it does not wait at all; for another one the subscription is confirmed."""
    async with protocol_client(f"http://127.0.0.1:{gateway.port}", token_for("2")) as other:
        assert await trips(far, other, "plain:here") == 0
        assert await trips(far, other, "plain:new") == 1
        assert await trips(far, client, "plain:new") == 0


async def test_subscribe_with_history_waits_at_most_twice_and_not_at_all_for_a_position_that_is_known(
    gateway: GatewayProcess, far: FarRedis, client: ProtocolClient, redis_server: RedisServer
) -> None:
    """A channel that the process has: none, or one read of what was missed. Else the subscription and one read."""
    publisher = Publisher([redis_server.url], prefix=gateway.prefix, config=gateway.env["CLARION_CONFIG"])
    tops = {channel: publisher.publish(channel, {"n": 1}) for channel in ("kept:here", "kept:missed")}
    publisher.close()
    missed = {"recover": True, "offset": 0}
    async with protocol_client(f"http://127.0.0.1:{gateway.port}", token_for("2")) as other:
        # None if the process still keeps what came since it joined.
        assert await trips(far, other, "kept:here", epoch=tops["kept:here"].epoch, **missed) <= 1
        assert await trips(far, other, "kept:new") == 2
        assert await trips(far, client, "kept:new") == 0
        assert await trips(far, other, "kept:missed", epoch=tops["kept:missed"].epoch, **missed) == 2


@pytest.mark.parametrize("namespace", ["seen", "both"])
async def test_subscribe_with_presence_writes_it_while_it_waits_for_the_rest(
    gateway: GatewayProcess, far: FarRedis, client: ProtocolClient, redis_server: RedisServer, namespace: str
) -> None:
    """One round trip for a channel that the process has, recovery included; at most two else."""
    publisher = Publisher([redis_server.url], prefix=gateway.prefix, config=gateway.env["CLARION_CONFIG"])
    tops = [publisher.publish(f"{namespace}:{name}", {"n": 1}) for name in ("here", "new")]
    publisher.close()
    missed = [{"recover": True, "offset": 0, "epoch": top.epoch} if top.epoch else {} for top in tops]
    async with protocol_client(f"http://127.0.0.1:{gateway.port}", token_for("2")) as other:
        assert await trips(far, other, f"{namespace}:here", **missed[0]) == 1
        assert await trips(far, other, f"{namespace}:new", **missed[1]) == (2 if namespace == "both" else 1)
        assert await trips(far, client, f"{namespace}:new") == 1
