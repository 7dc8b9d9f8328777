"""Control operations of the test application: what a test may look at and do inside the server's process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import struct
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from apps import BUSY, GATES, JOURNAL, LATE, MARKERS, SESSIONS, TASKS, TURN, Marker, Recorder, framed

OPERATIONS: dict[str, Callable[..., Any]] = {}


def operation(function: Callable[..., Any]) -> Callable[..., Any]:
    OPERATIONS[function.__name__] = function
    return function


def running_server() -> Any:
    """Find the `Server` whose `run()` is below us on the stack."""
    from daphne.server import Server

    frame = sys._getframe()
    while frame is not None:
        if isinstance(found := frame.f_locals.get("self"), Server):
            return found
        frame = frame.f_back  # type: ignore[assignment]
    raise LookupError("no Server on the stack")


@contextlib.contextmanager
def busy(what: str) -> Iterator[None]:
    """Mark that the hub is in the midst of something: a session's `closed` notes it."""
    BUSY.append(what)
    try:
        yield
    finally:
        BUSY.remove(what)


@operation
def journal(name: str) -> list[Any]:
    return JOURNAL[name]


@operation
def note(name: str, event: list[Any]) -> None:
    JOURNAL[name].append(event)


@operation
def open_gate(name: str) -> None:
    GATES[name].set()


@operation
def write(name: str, text: str = "", size: int = 0, times: int = 1) -> int:
    """Write text frames to a session's connection; return the most bytes that waited."""
    connection, most = SESSIONS[name].connection, 0
    frame = framed(connection, text.encode() or b"x" * size)
    with busy("write"):
        for _ in range(times):
            connection.write(frame)
            most = max(most, connection.queued_bytes)
    return most


@operation
def write_numbers(name: str, count: int, size: int) -> None:
    """Write numbered messages of different sizes."""
    connection = SESSIONS[name].connection
    for number in range(count):
        connection.write(framed(connection, numbered(number, size)))


@operation
def write_large(name: str, count: int, size: int, first: int = 0) -> list[int]:
    """Write numbered messages as one large reply; return what waits, and what of it is the reply's."""
    connection = SESSIONS[name].connection
    with busy("write"):
        connection.write_large(framed(connection, numbered(first + number, size)) for number in range(count))
    return [connection.queued_bytes, connection.large_bytes]


@operation
def write_giant(name: str, size: int) -> None:
    """Write one message of some megabytes as a large reply."""
    connection = SESSIONS[name].connection
    connection.write_large([framed(connection, bytes(number % 251 for number in range(1_000)) * (size // 1_000))])


@operation
def fill(name: str, size: int, queued: int = 300_000) -> int:
    """Write numbered messages until so many bytes wait here, beyond the kernel's buffers; return their number."""
    connection, number = SESSIONS[name].connection, 0
    while connection.queued_bytes < queued:
        connection.write(framed(connection, numbered(number, size)))
        number += 1
    return number


def numbered(number: int, size: int) -> bytes:
    return f"{number}:".encode() + b"x" * (number * 7919 % size)


@operation
def broadcast(names: list[str], text: str) -> None:
    """Write one shared frame for each kind of connection to many sessions, as the hub does."""
    frames: dict[type, bytes] = {}
    with busy("broadcast"):
        for name in names:
            connection = SESSIONS[name].connection
            connection.write(frames.setdefault(type(connection), framed(connection, text.encode())))


@operation
def close(name: str, code: int = 1000, reason: str = "", then_write: str = "", times: int = 1) -> bool:
    """Close a session's connection; tell whether it still counts as open."""
    connection = SESSIONS[name].connection
    with busy("close"):
        for _ in range(times):
            connection.close(code, reason)
        if then_write:
            connection.write(framed(connection, then_write.encode()))
    return bool(connection.open)


@operation
def inspect(name: str) -> dict[str, Any]:
    connection = SESSIONS[name].connection
    return {"open": connection.open, "queued_bytes": connection.queued_bytes, "client": connection.client}


@operation
def talk(name: str, size: int = 500, interval_s: float = 0.001) -> None:
    """Write to a connection for ever, as a busy room does."""

    async def forever() -> None:
        connection = SESSIONS[name].connection
        frame = framed(connection, b"x" * size)
        while True:
            connection.write(frame)
            await asyncio.sleep(interval_s)

    TASKS.add(asyncio.get_running_loop().create_task(forever()))


@operation
def talk_alone() -> None:
    """Start a background task that nobody stops, as a careless application does."""

    async def forever() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            print("background task cancelled", flush=True)

    TASKS.add(asyncio.get_running_loop().create_task(forever()))


@operation
def stop_talking() -> None:
    while TASKS:
        TASKS.pop().cancel()


@operation
def block(
    seconds: float, marker: str, write_to: str = "", size: int = 100, times: int = 1, close_code: int = 0
) -> None:
    """Block the loop while a client does something, then use its connection before the loop can look."""
    Path(marker).touch()
    time.sleep(seconds)
    if write_to:
        write(write_to, size=size, times=times)
    if close_code:
        close(write_to, close_code)


@operation
def losses() -> dict[str, int]:
    """Connections that the server gave up, by reason."""
    return dict(running_server().shared.lost)


@operation
def count_turns() -> None:
    """Start to count the loop's turns."""
    loop = asyncio.get_running_loop()

    def tick() -> None:
        TURN["ticks"] += 1
        loop.call_soon(tick)

    tick()


@operation
def counts() -> dict[str, Any]:
    """What a connection might leave behind."""
    server = running_server()
    return {
        "tasks": len(asyncio.all_tasks()),
        "entries": len(server.connections),
        "markers": len(MARKERS),
        "frozen": gc.get_freeze_count(),
        "loop": type(asyncio.get_running_loop()).__module__,
    }


@operation
def objects(collect: bool = True) -> dict[str, int]:
    """Count the live objects that the garbage collector tracks, by qualified type."""
    if collect:
        gc.collect()
    found = Counter(f"{type(item).__module__}.{type(item).__qualname__}" for item in gc.get_objects())
    return {"": sum(found.values()), **found}


KEPT: list[Any] = []
FULL_COLLECTIONS: list[int] = []


def _note_collection(phase: str, info: dict[str, int]) -> None:
    if phase == "stop" and info["generation"] == 2:
        FULL_COLLECTIONS.append(info["collected"])


gc.callbacks.append(_note_collection)


@operation
def collections() -> dict[str, int]:
    """What the collector has done since the start, and what it has found by now."""
    shared = running_server().shared
    return {
        "thaws": running_server().collector.thaws,
        "full": len(FULL_COLLECTIONS),
        "frozen": gc.get_freeze_count(),
        "markers": len(MARKERS),
        "undead": shared.undead,
    }


@operation
def grow(lists: int, cycles: int = 0) -> None:
    """Keep more objects: lists, and cycles that each hold a marker."""
    KEPT.extend([[] for _ in range(lists)])
    for _ in range(cycles):
        marker = Marker()
        marker.cycle = [marker]  # type: ignore[attr-defined]
        MARKERS.add(marker)
        KEPT.append(marker)


@operation
def shrink() -> None:
    """Let go of all that."""
    KEPT.clear()


@operation
def collector(enabled: bool) -> None:
    gc.enable() if enabled else gc.disable()


@operation
def traced() -> int:
    """Bytes that Python has allocated since the start (needs PYTHONTRACEMALLOC)."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@operation
def socket_option(descriptor: int, level: int, name: int) -> int:
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        return sock.getsockopt(level, name)


@operation
def backlogs() -> list[int]:
    """The backlog of every listening TCP socket of this process, from `struct tcp_info`."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as sock:
                if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) and sock.family != socket.AF_UNIX:
                    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
                    found.append(struct.unpack_from("I", info, 28)[0])  # tcpi_sacked: the limit of a listener
        except OSError:
            continue
    return found


@operation
def keep_alive() -> float:
    """Seconds after which the HTTP connection of this very request is closed when it falls idle."""
    (request,) = running_server().connections
    return float(request.channel.timeOut or request.channel._savedTimeOut)  # suspended while a request is served


class Poison:
    """A protocol whose every call fails, as a defect in one would."""

    client_addr = None

    def check_timeouts(self) -> None:
        raise RuntimeError("poison in check_timeouts")

    def handle_exception(self, exception: BaseException) -> None:
        raise RuntimeError("poison in handle_exception")


@operation
async def poison() -> None:
    """Put a broken protocol in front of both sweeps."""

    async def fail() -> None:
        raise RuntimeError("poisoned application")

    server = running_server()
    entry = {"connected": time.time(), "application_instance": asyncio.ensure_future(fail())}
    rest = dict(server.connections)
    server.connections.clear()
    server.connections[Poison()] = entry
    server.connections.update(rest)


@operation
def fail_in_twisted() -> None:
    """Let Twisted log a failure of its own."""
    from twisted.internet import reactor

    def fail() -> None:
        raise RuntimeError("raised under Twisted")

    from twisted.python import log

    try:
        fail()
    except RuntimeError:
        log.err(None, "a failure of Twisted's")
    assert reactor


@operation
def schedule(name: str, delays_s: list[float]) -> None:
    """Have a session woken; each delay takes the place of the one before."""
    session = SESSIONS[name]
    for delay_s in delays_s:
        session.connection.schedule(session, delay_s)


@operation
def unschedule(name: str) -> None:
    SESSIONS[name].connection.unschedule(SESSIONS[name])


@operation
def scheduled() -> int:
    """How many sessions the wheel holds."""
    return sum(
        isinstance(one, Recorder) for bucket in running_server().shared.wheel._buckets.values() for one in bucket
    )


@operation
def queued(names: list[str]) -> int:
    return sum(SESSIONS[name].connection.queued_bytes for name in names)


@operation
def publish_late(name: str, text: str) -> None:
    """Have a message on its way to a session: it arrives when `on_goodbye` is asked for it."""
    LATE.append((name, text))


@operation
def shed(share: float) -> int:
    """Send a share of the clients away."""
    return int(running_server().shed(share))


@operation
def leave() -> None:
    """Drain and end."""
    running_server().leave()
