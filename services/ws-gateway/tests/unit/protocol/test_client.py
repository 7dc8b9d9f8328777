"""ws_gateway.endpoints.client: in which order a connection is written to."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from clarion.server import text_frame
from clarion.tokens import token_make
from tests.support.protocol_session import SECRET, Driver, config_of
from tests.support.waiting import wait_until_async
from ws_gateway.clients import Clients
from ws_gateway.endpoints.client import HELD_MAX_BYTES, Client
from ws_gateway.endpoints.joining import Joins
from ws_gateway.protocol.formats import WEBSOCKET_JSON

LIVE = text_frame(b'{"push":{"channel":"open:a","pub":{"data":{}}}}')


class FakeConnection:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.lost = ""

    def write(self, frames: bytes) -> None:
        self.written.append(frames)

    def lose(self, why: str, detail: str = "") -> None:
        self.lost = why

    def schedule(self, timer: object, seconds: float) -> None:
        pass


class FakeHub:
    """Has the channel ``open:a``, and any other once :attr:`ready` is called."""

    def __init__(self) -> None:
        self.writes: dict[str, Callable[[bytes], None]] = {}
        self.ready: list[Callable[[], None]] = []

    def is_ready(self, channel: str) -> bool:
        return channel == "open:a"

    def when_ready(self, _channel: str, then: Callable[[], None]) -> SimpleNamespace:
        self.ready.append(then)
        return SimpleNamespace(release=lambda: None)

    def position(self, _channel: str) -> tuple[int, str]:
        return 0, ""

    def join(self, channel: str, member: Any, _wire: Any) -> None:
        self.writes[channel] = member.write


def connecting(hub: FakeHub, connection: FakeConnection) -> Client:
    """A client whose connect waits for its second server-side subscription."""
    config = config_of()
    gateway = SimpleNamespace(
        rules=Driver(config).rules,
        config=config,
        hub=hub,
        clients=Clients(),
        now=time.monotonic,
        new_id=lambda: "client-1",
        start_task=asyncio.create_task,
        join_timeout_s=1.0,
    )
    gateway.joins = Joins(gateway)  # type: ignore[arg-type]
    client = Client(gateway, connection, WEBSOCKET_JSON, scope=None, has_origin=False)  # type: ignore[arg-type]
    token, _ = token_make(SECRET, "alice", channels=("open:a", "open:b"))
    client.received(json.dumps({"id": 1, "connect": {"token": token}}))
    return client


async def test_client_gets_nothing_live_before_its_connect_is_answered() -> None:
    """A server-side channel that stands already waits for the others; the way in is the connection's own afterwards."""
    hub, connection = FakeHub(), FakeConnection()
    connecting(hub, connection)
    early = hub.writes["open:a"]
    early(LIVE)
    assert connection.written == []
    hub.ready.pop()()
    await wait_until_async(lambda: len(connection.written) == 2, what="answer and publication")
    assert b'"connect":{' in connection.written[0]
    assert connection.written[1] == LIVE
    early(LIVE)  # a slice that the hub had begun before
    hub.writes["open:a"](LIVE)
    assert connection.written[2:] == [LIVE, LIVE]
    assert hub.writes == {"open:a": connection.write, "open:b": connection.write}


async def test_client_is_lost_if_too_much_comes_before_its_connect_is_answered() -> None:
    """It comes back and recovers; the gateway's memory is bounded."""
    hub, connection = FakeHub(), FakeConnection()
    connecting(hub, connection)
    frame = text_frame(b"x" * 65_536)
    for _ in range(HELD_MAX_BYTES // len(frame)):
        hub.writes["open:a"](frame)
    assert not connection.lost
    hub.writes["open:a"](frame)
    assert connection.lost
    hub.ready.pop()()
