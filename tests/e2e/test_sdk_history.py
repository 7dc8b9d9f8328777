"""Centrifugo's SDKs: reading a channel's history."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.sdk import SdkError, Variant
from tests.support.sdk_clients import Clients
from tests.support.sdk_product import SdkProduct

COUNT = 25


def numbers(page: dict[str, Any]) -> list[int]:
    """What was published, by its number."""
    return [publication["data"]["n"] for publication in page["publications"]]


def fill(product: SdkProduct, channel: str, count: int = COUNT) -> None:
    for number in range(1, count + 1):
        product.send(channel, {"n": number}, tags={"odd": str(number % 2)})


def test_sdk_reads_the_history(clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct) -> None:
    """limit, since and reverse; 0 is the position alone, -1 all."""
    channel = f"kept:{name}"
    client = clients.connect(variant)
    fill(sdk_product, channel)
    top = client.call("history", channel=channel, limit=0)
    assert (top["publications"], top["offset"]) == ([], COUNT)
    assert top["epoch"]
    everything = client.call("history", channel=channel, limit=-1)
    assert numbers(everything) == list(range(1, COUNT + 1))
    assert [each["offset"] for each in everything["publications"]] == list(range(1, COUNT + 1))
    if variant.sdk != "java":  # which leaves them out
        assert everything["publications"][0]["tags"] == {"odd": "1"}
    assert numbers(client.call("history", channel=channel, limit=3)) == [1, 2, 3]
    assert numbers(client.call("history", channel=channel, limit=3, reverse=True)) == [25, 24, 23]
    since = {"offset": 10, "epoch": top["epoch"]}
    assert numbers(client.call("history", channel=channel, limit=3, since=since)) == [11, 12, 13]
    assert numbers(client.call("history", channel=channel, limit=3, since=since, reverse=True)) == [9, 8, 7]


def test_sdk_pages_through_the_history(clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct) -> None:
    """Each page from the last one's end: every publication once, while more are published."""
    channel = f"kept:{name}"
    client = clients.connect(variant)
    fill(sdk_product, channel)
    seen: list[int] = []
    position = {"offset": 0, "epoch": client.call("history", channel=channel, limit=0)["epoch"]}
    while page := client.call("history", channel=channel, limit=7, since=position)["publications"]:
        seen += [publication["data"]["n"] for publication in page]
        position["offset"] = page[-1]["offset"]
        if len(seen) == 14:
            sdk_product.send(channel, {"n": COUNT + 1})
    assert seen == list(range(1, COUNT + 2))


def test_sdk_reads_no_more_than_the_window(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """The last ten, though more have been published."""
    channel = f"window:{name}"
    client = clients.connect(variant)
    fill(sdk_product, channel)
    page = client.call("history", channel=channel, limit=100)
    assert (numbers(page), page["offset"]) == (list(range(16, 26)), COUNT)


def test_sdk_is_told_that_a_position_is_another_streams(
    clients: Clients, variant: Variant, name: str, sdk_product: SdkProduct
) -> None:
    """Error 112: the application has to start anew."""
    channel = f"kept:{name}"
    client = clients.connect(variant)
    fill(sdk_product, channel, 3)
    epoch = client.call("history", channel=channel, limit=0)["epoch"]
    sdk_product.forget(channel)
    sdk_product.send(channel, {"n": 1})
    with pytest.raises(SdkError) as refused:
        client.call("history", channel=channel, limit=10, since={"offset": 1, "epoch": epoch})
    assert refused.value.code == 112
