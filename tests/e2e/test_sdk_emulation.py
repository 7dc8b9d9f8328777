"""Centrifugo's SDKs: commands of HTTP streams and SSE reach the gateway that holds them, whichever takes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx
import pytest

from tests.support.sdk import Variant
from tests.support.sdk_clients import Clients
from tests.support.sdk_product import SdkProduct, token

SESSIONS = 12


class Stream:
    """An HTTP stream or server-sent events, by hand."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        connect = self.next()["connect"]
        self.session, self.node = connect["session"], connect["node"]

    def next(self) -> Any:
        """The next reply or push; pings are left out."""
        for line in self._lines:
            if line and (said := json.loads(line.removeprefix("data: "))):
                return said
        raise AssertionError("the stream has ended")


@contextmanager
def stream(url: str, transport: str, user: str) -> Iterator[Stream]:
    """Open a stream for the length of a ``with`` block."""
    connect = json.dumps({"id": 1, "connect": {"token": token(user)}})
    request: dict[str, Any] = {"method": "POST", "content": connect}
    if transport == "sse":
        request = {"method": "GET", "params": {"cf_connect": connect}}
    with (
        httpx.stream(url=f"{url}/connection/{transport}", timeout=20, trust_env=False, **request) as answer,
        closing(answer.iter_lines()) as lines,
    ):
        yield Stream(lines)


def emulate(url: str, stream: Stream, *commands: dict[str, Any], node: str = "") -> httpx.Response:
    """Send commands up."""
    data = "\n".join(json.dumps(command) for command in commands)
    body = {"session": stream.session, "node": node or stream.node, "data": data}
    return httpx.post(f"{url}/emulation", json=body, timeout=20, trust_env=False)


@pytest.mark.parametrize("transport", ["http_stream", "sse"])
def test_commands_reach_their_node_whichever_takes_them(sdk_product: SdkProduct, transport: str, name: str) -> None:
    """A stream on each gateway, commands by each gateway."""
    for holder in sdk_product.dev["gateways"]:
        with stream(holder, transport, name) as held:
            for number, taker in enumerate(sdk_product.dev["gateways"], 2):
                rpc = {"id": number, "rpc": {"method": "sdk.whoami", "data": {}}}
                assert emulate(taker, held, rpc).status_code == httpx.codes.NO_CONTENT
                said = held.next()
                assert said["id"] == number
                assert said["rpc"]["data"]["node"] == held.node


def test_commands_for_a_node_that_is_not_there_are_404(sdk_product: SdkProduct, name: str) -> None:
    """The SDK then connects anew; a session that has ended is known to its node alone, which says nothing."""
    ping = {"id": 2, "ping": {}}
    with stream(sdk_product.url, "http_stream", name) as held:
        assert emulate(sdk_product.url, held, ping, node="gateway-9").status_code == httpx.codes.NOT_FOUND
    assert emulate(sdk_product.url, held, ping).status_code == httpx.codes.NO_CONTENT


def test_sdks_commands_reach_their_node(
    clients: Clients, variants: list[Variant], name: str, sdk_product: SdkProduct
) -> None:
    """Many sessions at once, on both gateways, their commands spread over both by nginx."""
    all_of = [clients.open(each) for each in variants if each.is_emulated for _ in range(SESSIONS)]
    for client in all_of:
        client.call("connect")
    nodes = set()
    for number, client in enumerate(all_of):
        client.wait("connected")
        channel = f"live:{name}-{number}"
        client.subscribe(channel)
        client.call("publish", channel=channel, data={"n": number})
        client.wait_data(channel, [{"n": number}])
        nodes.add(client.call("rpc", method="sdk.whoami", data={})["node"])
    assert nodes == {"gateway-1", "gateway-2"}
    takers = set()
    for line in (sdk_product.run_dir / "log" / "nginx-access.log").read_text().splitlines():
        record = json.loads(line)
        if record["path"] == "/emulation" and record["status"] == httpx.codes.NO_CONTENT:
            takers.add(f"http://{record['upstream']}")
    assert takers == set(sdk_product.dev["gateways"])
