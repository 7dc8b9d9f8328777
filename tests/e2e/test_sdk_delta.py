"""Centrifugo's SDKs: publications as what changed since the last one."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.support.sdk import Variant
from tests.support.sdk_clients import Clients
from tests.support.sdk_product import SdkProduct

TEXTS = ["Grüße", "世界", "👋🏽", "e\u0301", "plain", "\u0000\u2028", 'quo"te']


def scores(random_: random.Random, count: int) -> list[dict[str, Any]]:
    """A table that changes a little from one publication to the next, with characters of one to four bytes."""
    table: dict[str, Any] = {f"player {number}": {"points": 0, "name": TEXTS[number % 7]} for number in range(40)}
    states = []
    for _ in range(count):
        row = table[f"player {random_.randrange(40)}"]
        row["points"] += random_.randrange(10)
        row["name"] = "".join(random_.choices(TEXTS, k=random_.randrange(4)))
        states.append({name: dict(row) for name, row in table.items()})
    return states


def test_sdk_rebuilds_what_changed(
    clients: Clients, delta_variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """Beside a client without delta, over an unsubscribe and a reconnect: all have the same."""
    channel = f"kept:{name}"
    states = scores(random.Random(name), 40)
    client, plain = clients.connect(delta_variant), clients.connect(delta_variant)
    client.subscribe(channel, delta="fossil")
    plain.subscribe(channel)
    for state in states[:10]:
        sdk_product.send(channel, state)
    client.wait_data(channel, states[:10])
    late = clients.connect(delta_variant)
    late.subscribe(channel, delta="fossil")
    client.call("unsubscribe", channel=channel)
    for state in states[10:20]:
        sdk_product.send(channel, state)
    client.call("resubscribe", channel=channel)
    client.wait_data(channel, states[:20])
    client.call("disconnect")
    client.wait("disconnected")
    for state in states[20:30]:
        sdk_product.send(channel, state)
    client.connect()
    client.wait_data(channel, states[:30])
    for state in states[30:]:
        sdk_product.send(channel, state)
    client.wait_data(channel, states)
    plain.wait_data(channel, states)
    late.wait_data(channel, states[10:])


@pytest.mark.parametrize("namespace", ["live", "asked"])
def test_sdk_gets_all_of_it_where_delta_is_not_allowed(
    clients: Clients, delta_variant: Variant, name: str, sdk_product: SdkProduct, namespace: str
) -> None:
    """What it asks for is not agreed on, and it copes."""
    channel = f"{namespace}:{name}"
    client = clients.connect(delta_variant)
    client.subscribe(channel, delta="fossil")
    states = scores(random.Random(name), 5)
    for state in states:
        sdk_product.send(channel, state)
    client.wait_data(channel, states)
