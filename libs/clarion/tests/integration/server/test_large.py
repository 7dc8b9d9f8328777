"""Large replies: what a client has asked for goes out as its socket drains, and is no slow reader's."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.waiting import wait_until

from .raw_client import Opcode, RawClient, close, text
from .server_process import ServerProcess
from .test_a_transport import wait_until_released
from .test_timers import KINDS, connect
from .tls_files import write_certificate

SMALL = {"receive_buffer": 4096}


def read(client: RawClient, kind: str) -> bytes:
    """Read one message."""
    return (client.read_chunk() or b"the end") if kind == "stream" else client.read_text().encode()


def assert_numbers(client: RawClient, kind: str, count: int, size: int, first: int = 0) -> None:
    """Demand numbered messages, whole and in order."""
    for number in range(first, first + count):
        assert read(client, kind) == f"{number}:".encode() + b"x" * (number * 7919 % size)


def assert_end(client: RawClient, kind: str, code: int) -> None:
    """Demand the end that this side began, and the FIN."""
    if kind == "stream":
        assert client.read_chunks() == []
        return
    assert client.read_close().close_code == code
    client.send(close(code))
    assert client.read_frames() == []


@pytest.fixture
def tls_server(start: Callable[..., ServerProcess], tmp_path: Path) -> ServerProcess:
    """A server on an `ssl:` endpoint with a certificate of its own."""
    key, certificate = write_certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(certificate))
    port = free_port()
    endpoint = f"ssl:port={port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    return start("-e", endpoint, address=("127.0.0.1", port), tls=context)


def check_large_reply(server: ServerProcess, name: str, kind: str) -> None:
    """Write 30 MB in many messages, others behind them, the end behind those; read it all, slowly at first."""
    client = connect(server, name, kind, **SMALL)
    queued, large = server.control("write_large", name=name, count=1_000, size=60_000)
    assert queued > 20_000_000, "far beyond what may wait for a slow reader"
    assert 0 < large <= queued
    for number in range(1_000, 1_010):
        server.control("write", name=name, text=f"{number}:" + "x" * (number * 7919 % 50))
    server.control("write_large", name=name, count=50, size=60_000, first=2_000)
    server.control("write", name=name, text="last")
    server.control("close", name=name, code=4007)
    assert_numbers(client, kind, 1_000, 60_000)
    assert_numbers(client, kind, 10, 50, first=1_000)
    assert_numbers(client, kind, 50, 60_000, first=2_000)
    assert read(client, kind) == b"last"
    assert_end(client, kind, 4007)
    assert server.wait_for(name, "closed") == ["closed", 4007, []]


@KINDS
def test_large_reply_arrives_whole_and_in_order(server: ServerProcess, name: str, kind: str) -> None:
    """Traps 7 and 51: a reply far over the limit, what is written behind it, another one, and the end behind all."""
    check_large_reply(server, name, kind)


@KINDS
def test_large_reply_over_tls(tls_server: ServerProcess, name: str, kind: str) -> None:
    """Trap 2: the same over TLS, where only the transport may write."""
    check_large_reply(tls_server, name, kind)


@KINDS
def test_reply_in_one_frame_is_written_in_pieces(server: ServerProcess, name: str, kind: str) -> None:
    """One message of 20 MB is no more than another; once it is out the fast path is there again."""
    client = connect(server, name, kind, **SMALL)
    server.control("write_giant", name=name, size=20_000_000)
    server.control("write", name=name, text="behind")
    expected = bytes(number % 251 for number in range(1_000)) * 20_000
    if kind == "stream":
        assert client.read_chunk() == expected
        assert client.read_chunk() == b"behind"
    else:
        found = [client.read_frame(), client.read_frame()]
        assert [one.payload for one in found if one] == [expected, b"behind"]
    wait_until(lambda: server.control("inspect", name=name)["queued_bytes"] == 0)
    assert server.control("write", name=name, text="direct") == 0
    assert read(client, kind) == b"direct"


@KINDS
def test_small_reply_is_sent_at_once(server: ServerProcess, name: str, kind: str) -> None:
    """A reply that the socket takes leaves nothing behind, however many pieces it has."""
    client = connect(server, name, kind)
    assert server.control("write_large", name=name, count=1_000, size=100) == [0, 0]
    assert server.control("write_large", name=name, count=0, size=1) == [0, 0]
    assert_numbers(client, kind, 1_000, 100)


@KINDS
def test_reply_behind_a_queue_waits_its_turn(server: ServerProcess, name: str, kind: str) -> None:
    """What waited before a large reply goes out before it."""
    client = connect(server, name, kind, **SMALL)
    count = server.control("fill", name=name, size=60_000)
    server.control("write_large", name=name, count=300, size=60_000, first=count)
    assert_numbers(client, kind, count + 300, 60_000)


@KINDS
def test_what_is_written_behind_a_reply_is_bounded(start: Callable[..., ServerProcess], name: str, kind: str) -> None:
    """Trap 5: the room's messages behind a large reply have `max_queued_bytes` for themselves; over it: 1013."""
    server = start("--max-queued-bytes", "262144")
    client = connect(server, name, kind, **SMALL)
    server.control("write_large", name=name, count=300, size=60_000)
    server.control("write", name=name, size=60_000, times=4)
    assert server.control("inspect", name=name)["open"] is True
    server.control("write", name=name, size=60_000)
    assert server.control("inspect", name=name)["open"] is False
    assert server.wait_for(name, "closed") == ["closed", 1013, []], "closed() must not come from inside write()"
    wait_until_released(server, client)
    assert server.control("inspect", name=name)["queued_bytes"] == 0


@KINDS
def test_replies_of_one_client_are_bounded(start: Callable[..., ServerProcess], name: str, kind: str) -> None:
    """One reply may have any size; more behind it, over `max_large_bytes`, end the connection."""
    server = start("--options", json.dumps({"max_large_bytes": 1_000_000}), kind="launch")
    client = connect(server, name, kind, **SMALL)
    assert server.control("write_large", name=name, count=300, size=60_000)[1] > 1_000_000
    server.control("write_large", name=name, count=30, size=60_000)
    assert server.control("inspect", name=name)["open"] is False
    assert server.wait_for(name, "closed") == ["closed", 1006, []]
    assert client.ending() == "rst"


def test_replies_count_in_the_process(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 32: replies that nobody takes are within `max_process_queued_bytes`; who asked for most goes first."""
    options = json.dumps({"max_process_queued_bytes": 40_000_000})
    server = start("--options", options, kind="launch")
    names = [f"{name}{number}" for number in range(4)]
    clients = [connect(server, one, "websocket", **SMALL) for one in names]
    for one, count in zip(names, (300, 300, 300, 1_500), strict=True):  # 30 KB each; the kernel takes some MB
        server.control("write_large", name=one, count=count, size=60_000)
    lost = [one for one in names if server.control("inspect", name=one)["open"] is False]
    assert lost == names[-1:]
    assert_numbers(clients[0], "websocket", 300, 60_000)


@KINDS
def test_reset_in_the_midst_of_a_reply(server: ServerProcess, name: str, kind: str) -> None:
    """Trap 9: a client that is reset with megabytes waiting ends with 1006, and nothing is kept of them."""
    client = connect(server, name, kind, **SMALL)
    server.control("write_large", name=name, count=300, size=60_000)
    read(client, kind)
    client.reset()
    assert server.wait_for(name, "closed") == ["closed", 1006, []]
    assert server.control("write_large", name=name, count=300, size=60_000) == [0, 0]
    assert server.control("inspect", name=name)["queued_bytes"] == 0
    kept = "clarion.server.backlog.Backlog"
    wait_until(lambda: kept not in server.control("objects"), 5, what="the end of what waited")


def test_close_in_the_midst_of_a_reply_is_answered_behind_it(server: ServerProcess, name: str) -> None:
    """Traps 3 and 7: the peer's Close is echoed behind what was written before, and the FIN follows."""
    client = connect(server, name, "websocket", **SMALL)
    server.control("write_large", name=name, count=100, size=60_000)
    client.send(close(3000))
    assert server.wait_for(name, "closed") == ["closed", 3000, []]
    assert_numbers(client, "websocket", 100, 60_000)
    assert [found.close_code for found in client.read_frames()] == [3000]


def test_failure_in_the_midst_of_a_reply(server: ServerProcess, name: str) -> None:
    """Trap 15: the 1011 of a session that raises, and the FIN behind it, come behind the reply."""
    server.fault_expected = True
    client = connect(server, name, "websocket", **SMALL)
    server.control("write_large", name=name, count=100, size=60_000)
    client.send(text("raise on purpose"))
    assert server.wait_for(name, "closed") == ["closed", 1011, []]
    assert_numbers(client, "websocket", 100, 60_000)
    assert [found.close_code for found in client.read_frames()] == [1011]


@KINDS
def test_end_behind_a_reply_has_a_deadline(server: ServerProcess, name: str, kind: str) -> None:
    """Trap 5: who does not read is cut some seconds after the end, whatever still waits."""
    client = connect(server, name, kind, **SMALL)
    server.control("write_large", name=name, count=300, size=60_000)
    server.control("close", name=name, code=4008)
    assert server.wait_for(name, "closed") == ["closed", 4008, []]
    wait_until_released(server, client)


def test_client_that_takes_nothing_is_given_up(server: ServerProcess, name: str) -> None:
    """Ten seconds without a byte of its reply, and the connection is reset; until then it counts as no slow reader."""
    client = connect(server, name, "websocket", **SMALL)
    began = time.monotonic()
    server.control("write_large", name=name, count=300, size=60_000)
    assert server.wait_for(name, "closed", timeout_s=40) == ["closed", 1006, []]
    assert time.monotonic() - began > 9
    assert client.ending() == "rst"


def test_reply_is_no_silence(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 50: a client that takes longer over its reply than `ping_timeout` is not given up over a ping behind it."""
    server = start("--ping-interval", "1", "--ping-timeout", "1")
    client = connect(server, name, "websocket", **SMALL)
    server.control("write_large", name=name, count=300, size=60_000)
    until = time.monotonic() + 5
    numbers = iter(range(300))
    while time.monotonic() < until:
        assert_numbers(client, "websocket", 1, 60_000, first=next(numbers))
        time.sleep(0.1)  # a slow network
    for number in numbers:
        assert_numbers(client, "websocket", 1, 60_000, first=number)
    ping = client.read_frame()
    assert ping is not None
    assert ping.opcode == Opcode.PING
