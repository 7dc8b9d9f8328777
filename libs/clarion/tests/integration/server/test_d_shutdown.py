"""An orderly end: traps 37 to 40."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable

import pytest

from .raw_client import Frame, Opcode, RawClient, close, handshake
from .server_process import ServerProcess


def finish(client: RawClient) -> list[Frame]:
    """Read to the end, answering a Close as a browser does."""
    frames = []
    while (found := client.read_frame()) is not None:
        frames.append(found)
        if found.opcode == Opcode.CLOSE:
            client.send(close(found.close_code))
    return frames


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_shutdown_tells_everybody(start: Callable[..., ServerProcess], name: str, number: signal.Signals) -> None:
    """Traps 37 and 38: sockets get 1012, applications their disconnect, requests their answer; exit code 0."""
    server = start()
    detached = [server.open(f"/ws/detach?name={name}{index}") for index in range(20)]
    consumer = server.open(f"/ws/slow_end?name={name}&seconds=0.5")
    waiting = server.dial()
    waiting.send(handshake(f"/ws/before?do=hang&name={name}w"))
    server.wait_for(f"{name}w", "called")
    request = server.dial()
    request.send(b"GET /slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    upgraded = server.dial()
    upgraded.send(b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n")
    upgraded.read_body(upgraded.read_head())
    upgraded.open("/ws/echo")
    server.signal(number)
    for client in [*detached, consumer, upgraded]:
        assert [found.close_code for found in finish(client)] == [1012]
        client.close()
    assert waiting.read_head().status == 503
    waiting.close()
    head = request.read_head()
    assert (head.status, request.read_body(head)) == (200, b"hello")
    assert server.wait(30) == 0
    assert f"{name}: websocket.disconnect 1012" in server.log
    assert f"{name}: handler ended" in server.log, "the handler was cancelled instead of told"
    assert "cancelled" not in server.log


def test_shutdown_waits_for_what_is_queued(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 38: what waits for a slow reader, and the Close behind it, arrive before the process ends."""
    server = start()
    client = server.dial(receive_buffer=4096).open(f"/ws/detach?name={name}")
    count = server.control("fill", name=name, size=60_000)
    server.signal()
    frames = finish(client)
    client.close()
    assert [found.payload.partition(b":")[0] for found in frames[:-1]] == [b"%d" % number for number in range(count)]
    assert frames[-1].close_code == 1012
    assert server.wait() == 0


def test_shutdown_ends_by_its_deadline(start: Callable[..., ServerProcess], name: str) -> None:
    """Traps 37 and 38: neither a stalled client nor an endless handler holds the drain past its deadline."""
    server = start("--drain", "0", "--drain-grace", "2", "--application-close-timeout", "60")
    server.dial(receive_buffer=4096).open(f"/ws/detach?name={name}")
    server.control("fill", name=name, size=60_000)
    server.open(f"/ws/slow_end?name={name}&seconds=60")
    began = time.monotonic()
    server.signal()
    assert server.wait(30) == 0
    assert 1.5 < time.monotonic() - began < 20
    assert f"{name}: websocket.disconnect 1012" in server.log
    assert f"{name}: cancelled" in server.log


def test_idle_server_ends_at_once(start: Callable[..., ServerProcess]) -> None:
    """Nothing to drain: the process ends at once, not after the deadline; idle kept-alive connections hold nothing."""
    server = start("--drain", "15")
    idle = server.dial()
    idle.send(b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n")
    idle.read_body(idle.read_head())
    began = time.monotonic()
    server.signal()
    assert server.wait() == 0
    assert time.monotonic() - began < 10


def test_drain_accepts_nobody(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 39: from the first signal on the port refuses connections, while handlers still end."""
    server = start("--drain", "12")
    client = server.open(f"/ws/slow_end?name={name}&seconds=2.5")
    server.signal()
    assert client.read_close().close_code == 1012
    assert not isinstance(server.address, str)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.address, 5).close()
    assert server.process.poll() is None
    client.send(close(1012))
    client.close()
    assert server.wait() == 0
    assert f"{name}: handler ended" in server.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_at_once(start: Callable[..., ServerProcess], name: str, number: signal.Signals) -> None:
    """Trap 39: who signals twice does not wait for the drain."""
    server = start("--drain", "60")
    client = server.open(f"/ws/slow_end?name={name}&seconds=60")
    server.signal(signal.SIGTERM)
    client.read_close()
    assert server.process.poll() is None
    server.signal(number)
    server.wait(10)


def test_shutdown_hooks_run_in_order(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 40: `on_drain` comes first, `on_shutdown` after the handlers, then run() returns."""
    server = start(kind="launch")
    server.control("talk_alone")
    client = server.open(f"/ws/slow_end?name={name}&seconds=0.3")
    server.signal()
    assert [found.close_code for found in finish(client)] == [1012]
    client.close()
    assert server.wait() == 0
    events = [
        "on_drain: draining=True",
        "websocket.disconnect 1012",
        "handler ended",
        "on_shutdown: subscriber",
        "run() ret",
    ]
    places = [server.log.find(event) for event in events]
    assert -1 not in places, server.log
    assert places == sorted(places), server.log
    assert server.log.count("on_drain") == server.log.count("on_shutdown") == 1
    assert "background task cancelled" in server.log


def test_port_in_use_ends_with_an_error(start: Callable[..., ServerProcess]) -> None:
    """A port that is taken is a clear line in the log and an exit code that is not 0."""
    first = start()
    assert not isinstance(first.address, str)
    second = start("-b", first.address[0], "-p", str(first.address[1]), address=first.address, ready=False)
    second.fault_expected = True
    assert second.wait(30) != 0
    assert "in use" in second.log
