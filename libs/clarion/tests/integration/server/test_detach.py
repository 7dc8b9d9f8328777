"""Detached sessions: what the session interface promises beyond the traps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.support.waiting import wait_until

from .raw_client import Frame, Opcode, close, frame, text
from .server_process import ServerProcess

EXAMPLES_ROUTES = """
async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await websocket(scope, receive, send)
    elif scope["type"] == "http" and scope["path"] == "/events":
        await events(scope, receive, send)
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})
"""


def notes(server: ServerProcess, name: str, kind: str) -> list[Any]:
    return [note for note in server.journal(name) if note[0] == kind]


def test_received_takes_whole_messages_in_order(server: ServerProcess, name: str) -> None:
    """Text comes as str, binary as bytes, each once, in order, fragments joined."""
    client = server.open(f"/ws/detach?name={name}")
    client.send(text("one") + frame(Opcode.BINARY, b"\x00two") + frame(1, b"th", fin=False) + frame(0, b"ree"))
    client.send(text("größe") + close(1000))
    server.wait_for(name, "closed")
    expected = ["one", {"bytes": b"\x00two".hex()}, "three", "größe"]
    assert [note[1] for note in notes(server, name, "received")] == expected
    assert server.journal(name)[-1] == ["closed", 1000, []]


def test_closed_is_the_last_call(server: ServerProcess, name: str) -> None:
    """Whatever happens at once (a message, our close, the peer's close and reset), closed() comes once and last."""
    for number in range(15):
        one = f"{name}-{number}"
        client = server.open(f"/ws/detach?name={one}")
        client.send(text("a") + text("close 4000 x") + text("b") + close(3000) + text("c"))
        if number % 3 == 0:
            client.reset()
        server.wait_for(one, "closed")
    for number in range(15):
        found = [note[0] for note in server.journal(f"{name}-{number}") if note[0] != "endpoint-finally"]
        assert found.count("closed") == 1, found
        assert found[-1] == "closed", found


def test_session_may_close_itself_while_it_receives(server: ServerProcess, name: str) -> None:
    """close() inside received(): a legal Close goes out, what the client sent behind is dropped."""
    client = server.open(f"/ws/detach?name={name}")
    client.send(text("echo first") + text("close 4010 as asked") + text("echo second"))
    assert client.read_text() == "first"
    found = client.read_close()
    assert (found.close_code, found.reason) == (4010, "as asked")
    client.send(close(4010))
    assert client.read_frames() == []
    assert server.wait_for(name, "closed")[1] == 4010
    assert ["received", "echo second"] not in server.journal(name)


def test_accept_takes_subprotocol_and_headers(server: ServerProcess, name: str) -> None:
    """A detaching accept takes what every accept takes."""
    head = server.dial().upgrade(f"/ws/detach?name={name}", "Sec-WebSocket-Protocol: clarion, x")
    assert (head.status, head.get("sec-websocket-protocol")) == (101, "clarion")


def test_connection_tells_about_itself(server: ServerProcess, name: str) -> None:
    """`open`, `queued_bytes` and `client`, before and after the end."""
    client = server.open(f"/ws/detach?name={name}")
    told = server.control("inspect", name=name)
    assert told == {"open": True, "queued_bytes": 0, "client": ["127.0.0.1", client.port]}
    client.send(close(1000))
    client.read_frames()
    server.wait_for(name, "closed")
    told = server.control("inspect", name=name)
    assert (told["open"], told["queued_bytes"]) == (False, 0)


def test_queued_bytes_rise_and_fall(server: ServerProcess, name: str) -> None:
    """`queued_bytes` is what waits in this process: it grows while the peer stalls and is 0 once it has read."""
    client = server.dial(receive_buffer=4096).open(f"/ws/detach?name={name}")
    written = 0
    while not (queued := server.control("inspect", name=name)["queued_bytes"]):
        server.control("write", name=name, size=50_000)
        written += 50_004
        assert written < 20_000_000
    assert 0 < queued <= written
    count = written // 50_004
    assert [len(found.payload) for found in (client.read_frame() for _ in range(count)) if found] == [50_000] * count
    wait_until(lambda: server.control("inspect", name=name)["queued_bytes"] == 0)


def test_writes_and_replies_keep_their_order(server: ServerProcess, name: str) -> None:
    """What is written in one order is read in that order, though some writes are sent at once and some wait."""
    client = server.dial(receive_buffer=8192).open(f"/ws/detach?name={name}")
    for number in range(200):
        client.send(text(f"echo {number}:" + "y" * (number * 997 % 5_000)))
    for number in range(200):
        assert client.read_text().partition(":")[0] == str(number)


def test_limit_of_queued_bytes_is_this_connections(start: Callable[..., ServerProcess], name: str) -> None:
    """`max_queued_bytes` loses the one that stalls; its neighbours get everything."""
    server = start("--max-queued-bytes", "200000")
    stalled = server.dial(receive_buffer=4096).open(f"/ws/detach?name={name}-stalled")
    readers = [server.open(f"/ws/detach?name={name}-{number}") for number in range(5)]
    names = [f"{name}-stalled", *(f"{name}-{number}" for number in range(5))]
    for _ in range(100):
        server.control("broadcast", names=names, text="z" * 50_000)
        for reader in readers:
            assert reader.read_text() == "z" * 50_000
        if notes(server, names[0], "closed"):
            break
    assert server.wait_for(names[0], "closed") == ["closed", 1013, []]
    assert not any(notes(server, one, "closed") for one in names[1:])
    assert stalled.ending() == "rst"


def test_limit_holds_for_consumers(start: Callable[..., ServerProcess], name: str) -> None:
    """An ASGI application that sends to a stalled client sees the loss: a disconnect, and OSError from send()."""
    server = start("--max-queued-bytes", "200000")
    server.dial(receive_buffer=4096).open(f"/ws/sender?name={name}&size=50000")
    server.control("open_gate", name=name)
    server.wait_for(name, "send-failed")
    server.wait_for(name, "disconnect", 1013)


def test_detached_connections_keep_no_task(start: Callable[..., ServerProcess], name: str) -> None:
    """A thousand messages over detached connections need no task and leave no object behind."""
    server = start()
    clients = [server.open(f"/ws/detach?name={name}{number}") for number in range(30)]
    for client in clients:
        client.send(b"".join(text(f"echo {number}") for number in range(35)))
        assert [client.read_text() for _ in range(35)] == [str(number) for number in range(35)]
    assert server.control("counts")["tasks"] <= 3
    assert server.control("counts")["markers"] == 0


def test_shared_frames_reach_high_level_clients(server: ServerProcess, name: str) -> None:
    """`websockets`' own client, with its own checks, understands everything: sizes at the header's borders included."""
    sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 200_000]
    with connect(server.url(f"/ws/detach?name={name}"), max_size=None) as client:
        for size in sizes:
            server.control("broadcast", names=[name], text="w" * size)
            assert client.recv(20) == "w" * size
        client.send("echo größe")
        assert client.recv(20) == "größe"
        client.ping().wait(20)
        client.close(3333, "done")
    assert server.wait_for(name, "closed")[1] == 3333


def test_many_clients_at_once(server: ServerProcess, name: str) -> None:
    """Concurrent handshakes, messages and closes: each session sees its own and nothing else."""
    problems: list[str] = []

    def talk(number: int) -> None:
        try:
            client = server.dial().open(f"/ws/detach?name={name}-{number}")
            for step in range(10):
                client.send(text(f"echo {number}.{step}"))
                assert client.read_text() == f"{number}.{step}"
            client.send(close(3000 + number))
            assert client.read_close().close_code == 3000 + number
        except (AssertionError, OSError) as exc:
            problems.append(repr(exc))

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not problems
    assert all(server.wait_for(f"{name}-{number}", "closed")[1] == 3000 + number for number in range(30))


def test_example_of_the_reference_works(start: Callable[..., ServerProcess], tmp_path: Path) -> None:
    """What docs/reference/detaching.md shows is what it says."""
    page = (Path(__file__).parents[5] / "docs/reference/detaching.md").read_text()
    (tmp_path / "example.py").write_text(page.split("```python\n")[1].split("```")[0] + EXAMPLES_ROUTES)
    server = start(app="example:application")
    client = server.open("/ws")
    assert [client.read_text(), client.read_text()] == ["tick", "tick"]
    stream = server.dial()
    stream.send(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert stream.read_head()["content-type"] == "text/event-stream"
    assert stream.read_chunk() == b"data: hello\n\n"


@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.PONG])
def test_control_frames_reach_no_session(server: ServerProcess, name: str, opcode: Opcode) -> None:
    """Pings are answered with their payload, pongs are dropped; neither is a message."""
    client = server.open(f"/ws/detach?name={name}")
    client.send(frame(opcode, b"payload") + text("echo after"))
    expected = [Frame(Opcode.TEXT, b"after")]
    if opcode == Opcode.PING:
        expected.append(Frame(Opcode.PONG, b"payload"))
    found = [client.read_frame() for _ in expected]
    assert sorted((one.opcode, one.payload) for one in found if one) == sorted(
        (one.opcode, one.payload) for one in expected
    )
    assert [note[1] for note in notes(server, name, "received")] == ["echo after"]
