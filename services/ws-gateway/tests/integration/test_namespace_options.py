"""Options of a namespace through the client protocol, on a real gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from centrifuge.fossil import apply_delta  # type: ignore[import-untyped]

from tests.support.protocol_client import protocol_client

from .conftest import GatewayProcess, running_gateway, token_for

CONFIG = """
[channel.without_namespace]
allow_subscribe_for_client = true
channel_regex = "^ne"
[[channel.namespaces]]
name = "placed"
history_size = 10
history_ttl = "300s"
force_positioning = true
allow_subscribe_for_client = true
[[channel.namespaces]]
name = "unplaced"
history_size = 10
history_ttl = "300s"
allow_subscribe_for_client = true
[[channel.namespaces]]
name = "named"
allow_subscribe_for_client = true
allow_publish_for_client = true
channel_regex = "^[a-z0-9-]+$"
[[channel.namespaces]]
name = "changed"
history_size = 10
history_ttl = "300s"
force_recovery = true
allow_subscribe_for_client = true
allowed_delta_types = ["fossil"]
"""


@pytest.fixture(scope="module")
def gateway(
    shared_redis_url: str, migrated_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """One with namespaces of these tests."""
    folder = tmp_path_factory.mktemp("options")
    with running_gateway(folder, shared_redis_url, migrated_database, config=CONFIG) as gateway:
        yield gateway


def client_of(gateway: GatewayProcess) -> Any:
    return protocol_client(f"http://127.0.0.1:{gateway.port}", token_for("7"))


async def test_force_positioning_gives_every_subscription_a_position(gateway: GatewayProcess) -> None:
    """Asked for or not. It is not recoverable by that: what was missed is not in the answer."""
    async with client_of(gateway) as client:
        gateway.publisher.publish("placed:x", 1)
        top = await client.subscribe("placed:x")
        assert (top["positioned"], top["offset"], top.get("recoverable")) == (True, 1, None)
        gateway.publisher.publish("placed:x", 2)
        assert (await client.push("pub", "placed:x"))["offset"] == 2
        await client.command(unsubscribe={"channel": "placed:x"})
        again = await client.subscribe("placed:x", recover=True, offset=1, epoch=top["epoch"])
        assert (again.get("was_recovering"), again.get("publications")) == (None, None)
        assert "positioned" not in await client.subscribe("unplaced:x", positioned=True)


@pytest.mark.parametrize(
    ("channel", "code"),
    [("named:room-1", 0), ("named:Room", 107), ("named:a:b", 107), ("named:", 107), ("news", 0), ("olds", 107)],
)
async def test_channel_regex_refuses_other_names(gateway: GatewayProcess, channel: str, code: int) -> None:
    """Error 107, for whatever is done there."""
    async with client_of(gateway) as client:
        reply = await client.command(subscribe={"channel": channel})
        assert reply.get("error", {}).get("code", 0) == code
        if channel.startswith("named:"):
            reply = await client.command(publish={"channel": channel, "data": 1})
            assert reply.get("error", {}).get("code", 0) == code


async def test_a_publishers_delta_is_for_its_publication(gateway: GatewayProcess) -> None:
    """Without delta_publish only what was published with ``delta`` comes as what changed."""
    states = [{"text": "the same long text that hardly changes " * 10, "n": number} for number in range(6)]
    async with client_of(gateway) as client, client_of(gateway) as plain:
        assert (await client.subscribe("changed:x", delta="fossil"))["delta"] is True
        await plain.subscribe("changed:x")
        before, is_delta = b"", []
        for number, state in enumerate(states):
            gateway.publisher.publish("changed:x", state, delta=number % 2 == 1)
            pushed = await client.push("pub", "changed:x")
            is_delta.append(pushed.get("delta", False))
            text = pushed["data"].encode()
            before = apply_delta(before, text) if is_delta[-1] else text
            assert json.loads(before) == state
            assert (await plain.push("pub", "changed:x"))["data"] == state
        assert is_delta == [False, True] * 3
