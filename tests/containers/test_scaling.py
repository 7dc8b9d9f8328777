"""`--scale ws-gateway`: nginx finds new gateways by itself, and SDKs' clients miss nothing when old ones go."""

from __future__ import annotations

import time
from typing import Final
from uuid import uuid4

import pytest

from tests.support.container_flow import flow
from tests.support.containers import Deployment
from tests.support.sdk import VARIANTS, SdkClient, Variant, missing, sdks

pytestmark = pytest.mark.timeout(600)

FOUND_WITHIN_S: Final = 5
CLIENTS: Final = 8


def variants() -> list[Variant]:
    """The SDKs that are on this machine, over WebSockets."""
    return [each for each in VARIANTS if not each.is_emulated and not missing(each.sdk)]


def scale(running: Deployment, count: int) -> None:
    """The documented command."""
    running.up("--no-recreate", "--scale", f"ws-gateway={count}")


def hosts(running: Deployment) -> set[str]:
    """The host names of the gateways that run: the first half of their nodes' names."""
    return {each["Config"]["Hostname"] for each in running.inspected("ws-gateway") if each["State"]["Running"]}


def test_scaling_loses_nothing(running: Deployment) -> None:
    """2, 4, 2 gateways under load: new ones get clients within 5 s; every client is given everything once, in order."""
    channel = f"chat:{uuid4().hex}"
    with sdks() as programs:

        def connect() -> SdkClient:
            variant = variants()[len(made) % len(variants())]
            client = programs.client(variant, running.url, token=running.token(uuid4().hex))
            client.connect()
            client.subscribe(channel)
            return client

        made: list[SdkClient] = []
        with flow(running, channel) as flowing:
            flowing.wait_more()
            made += [connect() for _ in range(CLIENTS)]
            first = [len(flowing.accepted)] * CLIENTS  # all that follows is theirs
            old = hosts(running)
            scale(running, 4)
            began = time.monotonic()
            new = hosts(running) - old
            assert len(new) == 2
            found: set[str] = set()
            while not new <= found:
                assert time.monotonic() - began < FOUND_WITHIN_S, f"nginx knows {found} of {new}"
                found.add(running.node().partition(":")[0])
            made += [connect() for _ in range(CLIENTS)]
            first += [len(flowing.accepted)] * CLIENTS
            flowing.wait_more()
            scale(running, 2)
            assert hosts(running) == old
            flowing.wait_more(20)
        for client, begin in zip(made, first, strict=True):
            wanted = flowing.accepted[begin:]
            client.wait_for(lambda event: event.get("data") == {"n": flowing.accepted[-1]}, what="the last publication")
            seen = [data["n"] for data in client.data(channel)]
            assert seen == sorted(set(seen)), f"{client}: twice, or out of order"
            assert set(wanted) <= set(seen), f"{client} misses some"
            assert not client.of("disconnected"), str(client)
            assert all(each["recovered"] for each in client.of("subscribed", channel)[1:]), str(client)
        assert any(len(client.of("subscribed", channel)) > 1 for client in made)  # some had to come back
        for client in made:
            client.call("disconnect")
