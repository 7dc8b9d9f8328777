"""The event loop, the sweeps, and what Twisted would swallow: traps 24 to 27."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from tests.support.waiting import wait_until

from .raw_client import DEADLINE_S, Frame, Opcode, close, frame, pour, text
from .server_process import ServerProcess

GET = b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_session_runs_outside_the_handshakes_context(server: ServerProcess, name: str) -> None:
    """Traps 24 and 44: `received` sees no context variable of the handshake and no current task."""
    client = server.dial().open(f"/ws/detach?name={name}", behind=text("context"))
    client.send(text("context") * 300)
    wait_until(lambda: [note[0] for note in server.journal(name)].count("context") == 301)
    assert ["context", True, False] not in server.journal(name)
    assert {tuple(note) for note in server.journal(name) if note[0] == "context"} == {("context", False, False)}
    server.control("objects")
    assert server.control("counts")["markers"] == 0, "the handshake's context is still held"


def test_reading_resumes_in_order(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 24: an application that is slow to read stops the client, and then gets every message in order."""
    server = start("--options", '{"max_inbound": 8}', kind="launch")
    client = server.open(f"/ws/hold?name={name}")
    server.wait_for(name, "accepted")
    for turn in range(1, 4):
        for number in range(1_500):
            client.send(text(str(number)))
        client.send(text("report"))
        server.control("open_gate", name=name)
        wait_until(lambda turn=turn: len(server.journal(name)) == turn + 1)  # type: ignore[misc]
    assert server.journal(name)[1:] == [["ordered", 1_501, True]] * 3


def test_full_inbound_queue_stops_the_client(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 24: with `max_inbound` messages waiting the server reads no more: TCP holds the client back."""
    server = start("--options", '{"max_inbound": 8}', kind="launch")
    client = server.open(f"/ws/hold?name={name}")
    server.wait_for(name, "accepted")
    before = server.memory_bytes()
    assert pour(client, text("y" * 60_000), limit_bytes=100_000_000, stall_s=1.5) < 50_000_000
    assert server.memory_bytes() - before < 30_000_000
    client.reset()
    server.control("open_gate", name=name)
    server.wait_for(name, "disconnect", 1006, timeout_s=6)
    assert [note[0] for note in server.journal(name)].count("disconnect") == 1


@pytest.mark.parametrize("door", ["direct", "kept-alive"])
def test_nagle_is_off(server: ServerProcess, name: str, door: str) -> None:
    """Trap 25: TCP_NODELAY is set on every connection, by whichever door it came."""
    client = server.dial()
    if door == "kept-alive":
        client.send(GET)
        client.read_body(client.read_head())
    client.open(f"/ws/detach?name={name}")
    descriptor = server.descriptor(client)
    assert server.control("socket_option", descriptor=descriptor, level=socket.IPPROTO_TCP, name=socket.TCP_NODELAY)


def test_exception_in_received_is_logged_and_closes(server: ServerProcess, name: str) -> None:
    """Trap 26: a session that raises is logged with its traceback and closed with 1011."""
    server.fault_expected = True
    client = server.open(f"/ws/detach?name={name}")
    since = len(server.log)
    client.send(text("raise on purpose") + text("echo never"))
    assert client.read_close().close_code == 1011
    client.send(close(1011))
    assert client.read_frames() == []
    server.wait_for(name, "closed", 1011)
    wait_until(lambda: "raised by the session: on purpose" in server.log[since:])
    assert "Traceback" in server.log[since:]
    assert ["received", "echo never"] not in server.journal(name)


def test_exception_in_closed_is_logged(server: ServerProcess, name: str) -> None:
    """Trap 26: a session that raises in closed() is logged and harms nobody."""
    server.fault_expected = True
    since = len(server.log)
    server.control("note", name=name, event=["raise-in-closed"])
    client, other = server.open(f"/ws/detach?name={name}"), server.open("/ws/echo")
    client.send(close(1000))
    assert [found.close_code for found in client.read_frames()] == [1000]
    wait_until(lambda: "raised by closed()" in server.log[since:])
    other.send(text("fine"))
    assert other.read_text() == "fine"


def test_failures_of_twisted_are_logged(server: ServerProcess) -> None:
    """Trap 26: what Twisted logs as a failure reaches `logging`; daphne throws it away."""
    server.fault_expected = True
    since = len(server.log)
    server.control("fail_in_twisted")
    wait_until(lambda: "raised under Twisted" in server.log[since:])


def test_one_broken_protocol_does_not_end_the_sweeps(start: Callable[..., ServerProcess]) -> None:
    """Trap 27: the sweeps re-arm whatever one connection raises: timeouts, pings and error answers go on."""
    server = start("--http-timeout", "1", "--ping-interval", "1", "--application-close-timeout", "1", "--drain", "1")
    server.fault_expected = True
    client = server.open("/ws/echo")
    server.control("poison")
    wait_until(lambda: "poison in handle_exception" in server.log and "poison in check_timeouts" in server.log)
    assert server.request("/hang").status == 503
    assert server.request("/raise").status == 500
    gone = server.dial()
    gone.send(b"GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wait_until(lambda: server.journal("hang").count(["entered"]) == 2)
    gone.close()
    wait_until(lambda: server.journal("hang").count(["left"]) == 2, what="the end of applications without a client")
    for _ in range(3):
        ping = client.read_frame()
        assert ping is not None
        assert ping.opcode == Opcode.PING
        client.send(frame(Opcode.PONG, ping.payload))


def test_detached_connection_leaves_the_sweeps(server: ServerProcess, name: str) -> None:
    """Trap 27: a detached connection has no entry among the applications."""
    before = server.control("counts")["entries"]
    clients = [server.open(f"/ws/detach?name={name}{number}") for number in range(20)]
    wait_until(lambda: server.control("counts")["entries"] <= before + 2)
    for client in clients:
        client.send(text("echo there"))
        assert client.read_text() == "there"


def test_detached_connection_is_pinged_and_cut(start: Callable[..., ServerProcess], name: str) -> None:
    """Pings hold for detached connections too: a peer that answers stays, one that does not is cut with 1006."""
    server = start("--ping-interval", "1", "--ping-timeout", "2")
    silent, alive = server.open(f"/ws/detach?name={name}"), server.open(f"/ws/detach?name={name}2")
    until = time.monotonic() + DEADLINE_S
    while not [note for note in server.journal(name) if note[0] == "closed"]:
        assert time.monotonic() < until
        found = alive.read_frame()
        assert found is not None
        assert found.opcode == Opcode.PING
        alive.send(frame(Opcode.PONG, found.payload))
    assert server.wait_for(name, "closed")[1] == 1006
    wait = server.descriptor(silent)
    assert wait is None or wait_until(lambda: server.descriptor(silent) is None)
    alive.send(text("echo here"))
    while (found := alive.read_frame()) and found.opcode == Opcode.PING:
        alive.send(frame(Opcode.PONG, found.payload))
    assert found == Frame(Opcode.TEXT, b"here")
