"""What a session asks of its connection beyond writing: timers, no pings, another limit on messages."""

from __future__ import annotations

import select
import selectors
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from clarion.server.wheel import TICK_S
from tests.support.waiting import wait_until

from .raw_client import DEADLINE_S, Opcode, RawClient, close, frame, handshake, text
from .server_process import ServerProcess
from .test_streams import open_stream

KINDS = pytest.mark.parametrize("kind", ["websocket", "stream"])


def connect(server: ServerProcess, name: str, kind: str, **dial: int) -> RawClient:
    """Open a detached connection of one kind."""
    if kind == "stream":
        return open_stream(server, name, **dial)
    return server.dial(**dial).open(f"/ws/detach?name={name}")


def count(server: ServerProcess, name: str, event: str) -> int:
    return [note[0] for note in server.journal(name)].count(event)


def sentinel(server: ServerProcess, name: str, kind: str, delay_s: float) -> None:
    """Wait until the wheel has woken everything that was due within a delay from now."""
    keep = connect(server, f"{name}-sentinel", kind)
    server.control("schedule", name=f"{name}-sentinel", delays_s=[delay_s])
    server.wait_for(f"{name}-sentinel", "woken")
    keep.close()


@KINDS
def test_timer_wakes_once_and_not_early(server: ServerProcess, name: str, kind: str) -> None:
    """`schedule` wakes once, after the delay, outside any task and context; a later one replaces the first."""
    keep = connect(server, name, kind)
    began = time.monotonic()
    server.control("schedule", name=name, delays_s=[0.1, 30, 1.0])
    assert server.wait_for(name, "woken") == ["woken", False, False]
    assert time.monotonic() - began >= 1.0
    sentinel(server, name, kind, 1.0)
    assert count(server, name, "woken") == 1
    keep.close()


@KINDS
def test_timer_is_forgotten(server: ServerProcess, name: str, kind: str) -> None:
    """`unschedule` forgets, also what was never scheduled."""
    keep = connect(server, name, kind)
    server.control("unschedule", name=name)
    server.control("schedule", name=name, delays_s=[0.3])
    server.control("unschedule", name=name)
    sentinel(server, name, kind, 1.0)
    assert count(server, name, "woken") == 0
    keep.close()


@KINDS
@pytest.mark.parametrize("end", ["close", "loss"])
def test_nothing_is_woken_after_the_end(server: ServerProcess, name: str, kind: str, end: str) -> None:
    """After closed() no timer is called, not one that is scheduled then; `closed` stays the last call."""
    client = connect(server, name, kind)
    server.control("schedule", name=name, delays_s=[0.5])
    if end == "close":
        server.control("close", name=name)
    else:
        client.reset()
    server.wait_for(name, "closed")
    sentinel(server, name, kind, 1.0)
    server.control("schedule", name=name, delays_s=[0.1])
    sentinel(server, name, kind, 1.0)
    assert count(server, name, "woken") == 0
    assert server.journal(name)[-1][0] == "closed"


def test_refused_session_is_not_woken(start: Callable[..., ServerProcess], name: str) -> None:
    """A session that was refused its stream schedules nothing: the wheel does not keep it."""
    server = start("--max-connections", "1")
    assert server.open("/ws/echo")
    assert server.request(f"/stream?name={name}").status == 503
    server.wait_for(name, "closed", 1013)
    server.control("schedule", name=name, delays_s=[30])
    assert server.control("scheduled") == 0


@KINDS
def test_timer_that_raises_ends_its_connection_alone(server: ServerProcess, name: str, kind: str) -> None:
    """An exception in wake() is logged with its traceback and closes that connection with 1011, and no other."""
    server.fault_expected = True
    since = len(server.log)
    server.control("note", name=name, event=["raise-in-wake"])
    client, other = connect(server, name, kind), connect(server, f"{name}2", kind)
    server.control("schedule", name=name, delays_s=[0.3])
    server.control("schedule", name=f"{name}2", delays_s=[0.3])
    if kind == "stream":
        assert client.read_chunks() == []
    else:
        assert client.read_close().close_code == 1011
        client.send(close(1011))
    assert server.wait_for(name, "closed") == ["closed", 1011, []]
    wait_until(lambda: f"raised by wake(): {name}" in server.log[since:])
    server.wait_for(f"{name}2", "woken")
    server.control("write", name=f"{name}2", text="fine")
    assert (other.read_chunk() if kind == "stream" else other.read_text().encode()) == b"fine"


@pytest.mark.parametrize("path", ["detach", "echo"])
def test_pings_can_be_left_to_the_protocol(start: Callable[..., ServerProcess], name: str, path: str) -> None:
    """`clarion.ping` False: no ping goes to that socket, and it is not given up over the silence; others are pinged."""
    server = start("--ping-interval", "1", "--ping-timeout", "2")
    quiet = server.open(f"/ws/{path}?name={name}&ping=false")
    pinged = server.open(f"/ws/{path}?name={name}2&ping=true")
    first = pinged.read_frame()
    assert first is not None
    assert first.opcode == Opcode.PING
    event = "closed" if path == "detach" else "disconnect"
    assert server.wait_for(f"{name}2", event)[1] == 1006
    quiet.send(frame(Opcode.PING, b"still there?") + text("echo on"))
    opcodes = [found.opcode for found in (quiet.read_frame(), quiet.read_frame()) if found]
    assert opcodes == [Opcode.PONG, Opcode.TEXT]


PING, PONG = b"\x89\x00", frame(Opcode.PONG)


def test_pings_stay_spread(start: Callable[..., ServerProcess], name: str, many_files: int) -> None:
    """Of two thousand that came at once a few are pinged in each tick, over half an interval; in each round anew."""
    rounds, interval_s, crowd = 3, 4, 2_000
    server = start("--ping-interval", str(interval_s))
    selector = selectors.DefaultSelector()
    blocked = server.block(3.0)  # so that they are served at once
    clients = [server.dial() for _ in range(crowd)]
    for client in clients:
        client.send(handshake(f"/ws/detach?name={name}&kind=silent"))
    assert blocked.read_head().status == 200
    for client in clients:
        assert client.read_head().status == 101
        selector.register(client.stream, selectors.EVENT_READ, [])
    until = time.monotonic() + DEADLINE_S + rounds * interval_s
    while any(len(key.data) < rounds for key in selector.get_map().values()) and time.monotonic() < until:
        for key, _ in selector.select(1):
            connection: Any = key.fileobj
            assert connection.recv(100) == PING
            connection.send(PONG)
            key.data.append(time.monotonic())
    for number in range(rounds):
        at = sorted(key.data[number] for key in selector.get_map().values())
        in_tick = Counter(int((when - at[0]) / TICK_S) for when in at)
        assert at[-1] - at[0] > interval_s / 3, f"round {number}"
        assert max(in_tick.values()) < crowd // 4, f"round {number}: {in_tick}"


def test_idle_connections_cost_no_time(start: Callable[..., ServerProcess], name: str, many_files: int) -> None:
    """Nothing sweeps over connections: without pings 4,500 more take under 0.4 us of CPU a second each.

    Stock daphne looks at each of them three times in two seconds.
    """
    server = start("--ping-interval", "0")
    spent_ns = []
    for count in (500, 4_500):
        for _ in range(count):
            server.open(f"/ws/detach?name={name}&kind=silent")
        wait_until(lambda: is_idle(server), what="what the connects have left is done")
        before, began = server.cpu_ns(), time.monotonic()
        select.select([], [], [], 4.0)
        spent_ns.append((server.cpu_ns() - before) / (time.monotonic() - began))
    assert (spent_ns[1] - spent_ns[0]) / 4_500 < 400, f"{spent_ns} ns of CPU a second"


def is_idle(server: ServerProcess) -> bool:
    """Whether nothing but the clock runs: under 20 ms of CPU in a second."""
    before_ns = server.cpu_ns()
    select.select([], [], [], 1.0)
    return server.cpu_ns() - before_ns < 20_000_000


@pytest.mark.parametrize("path", ["detach", "echo"])
@pytest.mark.parametrize("size", [1_000, 3_000_000])
def test_message_limit_can_be_the_acceptors(server: ServerProcess, name: str, path: str, size: int) -> None:
    """`clarion.max_size` replaces the server's 1 MiB, up or down, for frames and fragments; beyond it 1009."""
    client = server.open(f"/ws/{path}?name={name}&max_size={size}")
    half = size // 2
    fits = [text("x" * size), frame(1, b"y" * half, fin=False) + frame(0, b"y" * (size - half))]
    for sent in fits:
        client.send(sent)
    wait_until(lambda: path == "echo" or count(server, name, "received") == 2)
    if path == "echo":
        assert [len(client.read_text()) for _ in fits] == [size, size]
    client.send(text("x" * (size + 1)))
    assert client.read_close().close_code == 1009
    other = server.open(f"/ws/{path}?name={name}2&max_size={size}")
    other.send(frame(1, b"y" * half, fin=False) + frame(0, b"y" * (size - half + 1)))
    assert other.read_close().close_code == 1009


def test_fragments_may_be_as_many_as_the_limit_allows(server: ServerProcess, name: str) -> None:
    """The cap on fragments goes with the limit on the message's size."""
    client = server.open(f"/ws/detach?name={name}&max_size=4000000")
    client.send(frame(1, b"a", fin=False) + frame(0, b"a", fin=False) * 40_000 + frame(0, b"a"))
    assert server.wait_for(name, "received") == ["received", "a" * 40_002]


@pytest.mark.parametrize("size", ["0", "-1", '"big"', "1.5"])
def test_limit_that_is_none_is_refused(server: ServerProcess, name: str, size: str) -> None:
    """A `clarion.max_size` that is no number of bytes raises in the application, before the 101."""
    server.fault_expected = True
    assert server.dial().upgrade(f"/ws/detach?name={name}&max_size={size}").status == 500
