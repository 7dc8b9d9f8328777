"""What an open connection costs, and what a closed one leaves: traps 11 to 13."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.waiting import wait_until

from .raw_client import RawClient, close
from .server_process import ServerProcess

CONNECTIONS = 200
# A browser's handshake, with 1.3 KB of cookies.
BROWSER = (
    "Pragma: no-cache",
    "Cache-Control: no-cache",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Origin: http://localhost",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    "Cookie: " + "; ".join(f"cookie{number}={'v' * 80}" for number in range(14)),
)
# The parser's objects, which live only as long as a handshake.
HANDSHAKE_OBJECTS = ("websockets.http11.Request", "websockets.datastructures.Headers", "websockets.http11.Response")


def open_silent(server: ServerProcess, count: int) -> list[RawClient]:
    return [server.open("/ws/detach?kind=silent", *BROWSER) for _ in range(count)]


def test_handshake_is_forgotten_after_accept(start: Callable[..., ServerProcess]) -> None:
    """Traps 11 and 12: no request, header or scope outlives the accept, whatever a browser sent."""
    server = start()
    open_silent(server, 10)
    before = server.control("objects")
    open_silent(server, 50)
    wait_until(lambda: server.control("counts")["markers"] == 0, what="the end of every handshake's context")
    after = server.control("objects")
    kept = {kind: after.get(kind, 0) - before.get(kind, 0) for kind in HANDSHAKE_OBJECTS}
    assert kept == dict.fromkeys(HANDSHAKE_OBJECTS, 0)
    assert server.control("counts")["tasks"] <= 3, "a detached connection keeps no task"


def test_idle_connection_is_small(start: Callable[..., ServerProcess]) -> None:
    """Traps 11 and 12: an idle detached connection holds few bytes and few objects for the collector to walk."""
    server = start(env={"PYTHONTRACEMALLOC": "1"})
    open_silent(server, 20)
    bytes_before, objects_before = server.control("traced"), server.control("objects")[""]
    open_silent(server, CONNECTIONS)
    wait_until(lambda: server.control("counts")["markers"] == 0)
    grown = (server.control("traced") - bytes_before) / CONNECTIONS
    objects = (server.control("objects")[""] - objects_before) / CONNECTIONS
    assert grown < 6_000, f"{grown:.0f} bytes for each connection"
    assert objects < 40, f"{objects:.1f} objects for each connection"


def test_modules_are_frozen_at_start(server: ServerProcess) -> None:
    """Trap 12: what is there at start is out of the collector's way."""
    assert server.control("counts")["frozen"] > 10_000


def test_closed_connection_leaves_no_cycle(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 13: with the collector off, a closed connection's objects are gone by their reference counts."""
    server = start()
    server.open(f"/ws/detach?name={name}first").close()
    server.wait_for(f"{name}first", "closed")
    server.control("objects")
    server.control("collector", enabled=False)
    before = server.control("objects", collect=False)
    clients = open_silent(server, 30) + [server.open("/ws/echo?name=cycle", *BROWSER) for _ in range(10)]
    for number, client in enumerate(clients):
        if number % 2:
            client.send(close(1000))
        client.ending() if number % 2 else client.reset()
        client.close()

    def grown() -> dict[str, int]:
        after = server.control("objects", collect=False)
        kinds = [kind for kind in after if kind.startswith(("websockets.", "clarion.server.")) and ".http." not in kind]
        return {kind: after[kind] - before.get(kind, 0) for kind in kinds if after[kind] > before.get(kind, 0) + 2}

    try:
        wait_until(lambda: not grown(), 10)
    except AssertionError:
        raise AssertionError(f"kept by cycles: {grown()}") from None


@pytest.mark.parametrize("size", [5_000, 60_000, 110_000])
def test_memory_of_stalled_clients_is_given_back(
    start: Callable[..., ServerProcess], name: str, many_files: int, size: int
) -> None:
    """Trap 32: what waited for a hundred clients goes back to the system when they are gone, beside some who stay."""
    server = start()
    names = [f"{name}{number}" for number in range(100)]
    clients = [server.dial(receive_buffer=4096).open(f"/ws/detach?name={one}") for one in names]
    before = server.memory_bytes()
    for one in names:
        server.control("fill", name=one, size=size, queued=900_000)
    grown = server.memory_bytes() - before
    assert grown > 40_000_000
    for number, client in enumerate(clients):
        if number % 10:
            client.reset()
    wait_until(lambda: server.memory_bytes() - before < grown // 4, what=f"{grown} bytes are given back")
