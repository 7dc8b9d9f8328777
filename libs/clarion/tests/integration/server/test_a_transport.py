"""Wrong data, clear text, connections that never die: traps 1 to 10."""

from __future__ import annotations

import secrets
import ssl
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.waiting import wait_until

from .raw_client import DEADLINE_S, Opcode, RawClient, TlsStream, close, frame, handshake, text
from .server_process import ServerProcess
from .tls_files import write_certificate

LINGER_S = 15.0  # the server's own limit for a close is about 5 s


def open_session(server: ServerProcess, name: str, **more: int) -> RawClient:
    """Open a detached connection whose session is known under `name`."""
    return server.dial(**more).open(f"/ws/detach?name={name}")


def wait_until_released(server: ServerProcess, client: RawClient) -> None:
    """Wait until the server holds no descriptor for a client's connection."""
    wait_until(lambda: server.descriptor(client) is None, LINGER_S, what="the release of the server's socket")


def stranger_on(server: ServerProcess, descriptor: int) -> tuple[RawClient, str]:
    """Connect strangers until one of them sits on a given descriptor number."""
    for _ in range(50):
        name = secrets.token_hex(6)
        client = open_session(server, name)
        if server.descriptor(client) == descriptor:
            return client, name
    raise AssertionError(f"descriptor {descriptor} was not reused")


def assert_alone(server: ServerProcess, client: RawClient) -> None:
    """Demand that a client's next frame is the answer to its own message, not somebody else's data."""
    client.send(text("echo mine"))
    assert client.read_text() == "mine"


def lose_while_waiting(server: ServerProcess, name: str) -> int:
    """Reset a client whose handshake still waits for the application; return the number its socket had."""
    client = server.dial()
    client.send(handshake(f"/ws/late?then=detach&name={name}"))
    server.wait_for(name, "waiting")
    descriptor = server.descriptor(client)
    assert descriptor is not None
    port = client.port
    client.reset()
    wait_until(lambda: descriptor not in open_descriptors(server, port), what="the end of the reset connection")
    return descriptor


def open_descriptors(server: ServerProcess, port: int) -> set[int]:
    """The server's descriptors whose peer is a given local port."""
    local, remote = f":{server.address[1]:04X}", f":{port:04X}"  # type: ignore[str-format]
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {
        f"socket:[{columns[9]}]" for columns in lines if columns[1].endswith(local) and columns[2].endswith(remote)
    }
    return {number for inode, number in server._descriptors().items() if inode in inodes}


def test_accept_after_loss_reaches_no_stranger(server: ServerProcess, name: str) -> None:
    """Trap 1: a session accepted on a lost connection gets closed(1006); its writes reach nobody else."""
    descriptor = lose_while_waiting(server, name)
    stranger, _ = stranger_on(server, descriptor)
    server.control("open_gate", name=name)
    server.wait_for(name, "closed", 1006)
    server.control("write", name=name, text="secret")
    assert_alone(server, stranger)
    assert [note[0] for note in server.journal(name)].count("closed") == 1


def test_member_snapshot_reaches_no_stranger(server: ServerProcess, name: str) -> None:
    """Trap 1: a connection kept in a member list is dead for writes from the moment its socket is lost."""
    client = open_session(server, name)
    descriptor = server.descriptor(client)
    assert descriptor is not None
    client.reset()
    server.wait_for(name, "closed", 1006)
    stranger, _ = stranger_on(server, descriptor)
    assert server.control("inspect", name=name)["open"] is False
    server.control("write", name=name, text="secret")
    server.control("close", name=name)
    assert_alone(server, stranger)


@pytest.fixture
def tls_server(start: Callable[..., ServerProcess], tmp_path: Path) -> ServerProcess:
    """A server on an `ssl:` endpoint with a certificate of its own."""
    key, certificate = write_certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(certificate))
    port = free_port()
    endpoint = f"ssl:port={port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    return start("-e", endpoint, address=("127.0.0.1", port), tls=context)


def test_tls_carries_shared_frames_encrypted(tls_server: ServerProcess, name: str) -> None:
    """Trap 2: the fast path's raw send is for plain sockets; on TLS every byte of a frame is encrypted."""
    client = open_session(tls_server, name)
    assert isinstance(client.stream, TlsStream)
    marker = secrets.token_hex(200)
    for _ in range(3):
        tls_server.control("broadcast", names=[name], text=marker)
        assert client.read_text() == marker
    tls_server.control("write_numbers", name=name, count=40, size=20_000)
    for number in range(40):
        assert client.read_text().startswith(f"{number}:")
    assert marker.encode() not in client.stream.wire
    client.send(close(1000))
    assert client.read_close().close_code == 1000
    tls_server.wait_for(name, "closed", 1000)


def test_tls_speaks_http_and_names_its_protocols(tls_server: ServerProcess, tmp_path: Path) -> None:
    """Trap 29: an HTTP request finds its way through TLS, and ALPN is answered as daphne answers it."""
    assert tls_server.request("/plain").body == b"hello"
    assert tls_server.request("/scope").json()["scheme"] == "https"
    assert tls_server.tls is not None
    tls_server.tls.set_alpn_protocols(["http/1.1"])
    client = tls_server.dial()
    assert isinstance(client.stream, TlsStream)
    assert client.stream.tls.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize(("sent", "code"), [(close(1000), 1000), (frame(Opcode.TEXT, b"x", masked=False), 1002)])
def test_tcp_is_closed_after_the_closing_handshake(server: ServerProcess, name: str, sent: bytes, code: int) -> None:
    """Trap 3: `SEND_EOF` closes our half: after a Close or a protocol error comes a FIN."""
    for path in (f"/ws/detach?name={name}", f"/ws/echo?name={name}"):
        client = server.open(path)
        client.send(sent)
        frames = client.read_frames()
        assert [found.opcode for found in frames] == [Opcode.CLOSE]
        assert frames[0].close_code == code


def test_peer_that_never_ends_is_aborted(server: ServerProcess, name: str) -> None:
    """Traps 3 and 5: who keeps its half open, ignores our Close or does not read loses its socket in about 5 s."""
    lingering = open_session(server, f"{name}-lingering")
    lingering.send(close(1000))
    assert lingering.read_close().close_code == 1000
    assert lingering.read_frame() is None
    ignoring = open_session(server, f"{name}-ignoring")
    server.control("close", name=f"{name}-ignoring", code=4000)
    assert ignoring.read_close().close_code == 4000
    ignoring.send(text("still here"))
    stalled = open_session(server, f"{name}-stalled", receive_buffer=4096)
    wait_until(lambda: server.control("write", name=f"{name}-stalled", size=60_000) > 200_000)
    server.control("close", name=f"{name}-stalled", code=4002)
    for client, end, code in [(lingering, "lingering", 1000), (ignoring, "ignoring", 4000), (stalled, "stalled", 4002)]:
        wait_until_released(server, client)
        assert server.wait_for(f"{name}-{end}", "closed") == ["closed", code, []]
        assert [note[0] for note in server.journal(f"{name}-{end}")].count("closed") == 1


def test_no_data_follows_our_close(server: ServerProcess, name: str) -> None:
    """Trap 4: `open` is false from the call that sends a Close, and nothing is written after it."""
    client = open_session(server, name)
    server.control("write", name=name, text="before")
    assert server.control("close", name=name, code=4001, reason="bye", then_write="after") is False
    server.control("write", name=name, text="later")
    assert client.read_text() == "before"
    closing = client.read_frame()
    assert closing is not None
    assert (closing.close_code, closing.reason) == (4001, "bye")
    client.send(close(4001))
    assert client.read_frames() == []


def test_no_data_follows_the_answer_to_a_close(server: ServerProcess, name: str) -> None:
    """Trap 4: after the client's Close the session is closed to the room, though TCP is still there."""
    client = open_session(server, name)
    server.control("talk", name=name)
    assert client.read_frame() is not None
    client.send(close(3000, "enough"))
    assert client.read_close().close_code == 3000
    assert client.read_frame() is None
    server.wait_for(name, "closed", 3000)
    assert server.control("inspect", name=name)["open"] is False
    server.control("stop_talking")


def test_reader_that_stalls_is_ended_at_its_limit(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 5: over `max_queued_bytes` the session is told 1013 at once; five seconds later the socket is reset."""
    server = start("--max-queued-bytes", "262144")
    client = open_session(server, name, receive_buffer=4096)
    most = server.control("write", name=name, size=60_000, times=200)
    assert most <= 262_144 + 60_010
    assert server.wait_for(name, "closed") == ["closed", 1013, []], "closed() must not come from inside write()"
    server.control("write", name=name, size=60_000)
    assert server.control("inspect", name=name)["queued_bytes"] <= 262_144 + 60_010, "its writes are dropped"
    assert server.control("losses") == {"slow": 1}
    wait_until_released(server, client)
    assert server.control("inspect", name=name)["queued_bytes"] == 0
    assert server.control("losses") == {"slow": 1}, "one end, counted once"


@pytest.mark.parametrize(
    ("drain", "code", "words"), [("", 1013, 0), ("&drain=says", 4200, 1), ("&drain=raises", 1013, 0)]
)
def test_slow_reader_is_told_why(
    start: Callable[..., ServerProcess], name: str, drain: str, code: int, words: int
) -> None:
    """Who reads at all gets what was queued, whole and in order, then the session's goodbye and the code."""
    server = start("--max-queued-bytes", "262144")
    server.fault_expected = drain.endswith("raises")
    client = server.dial(receive_buffer=65_536).open(f"/ws/detach?name={name}{drain}")
    server.control("write_numbers", name=name, count=200, size=60_000)
    server.wait_for(name, "closed", code)
    texts = []
    while (last := client.read_frame()) is not None and last.opcode == Opcode.TEXT:
        texts.append(last.payload.partition(b":")[0].decode())
    count = len(texts) - words
    assert 10 < count < 200
    assert texts == [str(number) for number in range(count)] + ["too slow"] * words
    assert last is not None
    assert last.close_code == code


def test_talking_room_does_not_delay_a_close(server: ServerProcess, name: str) -> None:
    """Trap 6: writes after a close are dropped, so a room that talks on cannot hold the connection."""
    client = open_session(server, name)
    server.control("talk", name=name, size=2_000)
    client.read_frame()
    server.control("close", name=name, code=4003)
    assert client.read_close().close_code == 4003
    client.send(close(4003))
    assert client.read_frames() == []
    server.control("stop_talking")


@pytest.mark.parametrize("door", ["direct", "kept-alive"])
@pytest.mark.parametrize("side", ["server", "client"])
def test_close_behind_a_long_queue_arrives(server: ServerProcess, name: str, door: str, side: str) -> None:
    """Trap 7: with far over 64 KiB queued, the rest, the Close and the FIN all come once the client reads."""
    client = server.dial(receive_buffer=4096)
    if door == "kept-alive":
        client.send(b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.read_body(client.read_head()) == b"hello"
    client.open(f"/ws/detach?name={name}")
    count = server.control("fill", name=name, size=60_000)
    if side == "server":
        server.control("close", name=name, code=4004)
    else:
        client.send(close(4004))
        server.wait_for(name, "closed", 4004)
    assert [client.read_text().partition(":")[0] for _ in range(count)] == [str(number) for number in range(count)]
    closing = client.read_frame()
    assert closing is not None
    assert closing.close_code == 4004
    if side == "server":
        client.send(close(4004))
    assert client.read_frame() is None


def test_error_close_reaches_a_client_that_goes_on_sending(server: ServerProcess, name: str) -> None:
    """Trap 8: the Close of a refused message arrives whole, with a FIN behind it and no RST before it."""
    for attempt in range(20):
        client = open_session(server, f"{name}{attempt}")
        sent = frame(Opcode.TEXT, b"y" * 1_200_000)
        client.send(sent[:400_000])
        frames = client.read_frames()
        assert [found.close_code for found in frames] == [1009]
        for start in range(400_000, 1_200_000, 50_000):
            client.send(sent[start : start + 50_000])
        client.close()


def test_dead_peer_is_noticed_while_its_messages_wait(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 9: with a full inbound queue, a peer's reset still ends the connection and the application's send()."""
    server = start("--options", '{"max_inbound": 4}', kind="launch")
    client = server.open(f"/ws/sender?name={name}")
    client.send(text("x" * 1000) * 400)
    client.reset()
    server.control("open_gate", name=name)
    server.wait_for(name, "send-failed")
    server.wait_for(name, "disconnect", 1006)


def test_partial_writes_keep_their_order(server: ServerProcess, name: str) -> None:
    """Trap 9: what a full socket did not take is queued, whole and in order, behind what waits."""
    client = open_session(server, name, receive_buffer=4096)
    count = server.control("fill", name=name, size=60_000)
    server.control("write", name=name, text="last")
    for number in range(count):
        assert client.read_text() == f"{number}:" + "x" * (number * 7919 % 60_000)
    assert client.read_text() == "last"


def test_write_to_a_reset_peer_is_no_error(server: ServerProcess, name: str) -> None:
    """Traps 9 and 10: a send that fails ends the connection, from the loop and never from inside write()."""
    client = open_session(server, name)
    blocked = server.block(0.5, write_to=name, times=50)
    client.reset()
    assert blocked.read_head().status == 200
    assert server.wait_for(name, "closed") == ["closed", 1006, []]
    assert [note[0] for note in server.journal(name)].count("closed") == 1


def test_reset_behind_data_is_noticed(server: ServerProcess, name: str) -> None:
    """Trap 9: data and an RST in one turn: libuv stops watching after the data, so the loss must be looked for."""
    client = open_session(server, name)
    blocked = server.block(0.5)
    client.send(text("last words"))
    client.reset()
    assert blocked.read_head().status == 200
    server.wait_for(name, "closed", 1006, timeout_s=6)
    assert ["received", "last words"] in server.journal(name)


@pytest.mark.parametrize("sent", [b"", close(1000), frame(Opcode.TEXT, b"x", masked=False)])
def test_close_of_a_half_closed_peer_is_deferred(server: ServerProcess, name: str, sent: bytes) -> None:
    """Trap 10: a close or a write inside the hub's loop never calls closed() there, half-closed peer or not."""
    client = open_session(server, name)
    blocked = server.block(0.5, write_to=name, close_code=4005)
    client.send(sent)
    client.half_close()
    assert blocked.read_head().status == 200
    closed = server.wait_for(name, "closed")
    assert closed[2] == []
    assert client.ending(DEADLINE_S) in ("fin", "rst")
    assert [note[0] for note in server.journal(name)].count("closed") == 1


def test_close_after_a_half_close_is_deferred(server: ServerProcess, name: str) -> None:
    """Trap 10: closing a connection again after its Close was seen does nothing at once."""
    client = open_session(server, name)
    client.send(close(1001))
    client.half_close()
    server.wait_for(name, "closed")
    server.control("close", name=name, code=4006, times=3)
    assert [found.payload for found in client.read_frames()] == [struct.pack("!H", 1001)]
    assert [note for note in server.journal(name) if note[0] == "closed"] == [["closed", 1001, []]]
