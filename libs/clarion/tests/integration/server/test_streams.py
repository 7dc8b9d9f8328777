"""HTTP responses that their application has detached from: the traps of a WebSocket, met again by another door."""

from __future__ import annotations

import re
import secrets
import signal
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.waiting import wait_until

from .raw_client import Head, RawClient, TlsStream, close, pour, text
from .server_process import ServerProcess, read_answer
from .test_a_transport import open_descriptors, stranger_on, wait_until_released
from .tls_files import write_certificate

GET = b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n"
DRAIN = ["says", "waits", "raises"]


def request(path: str, *headers: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> bytes:
    """An HTTP request for a stream."""
    length = [f"Content-Length: {len(body)}"] if body else []
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", *length, *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def open_stream(server: ServerProcess, name: str, more: str = "", **dial: int) -> RawClient:
    """Open a stream whose session is known under `name`; the head is read."""
    client = server.dial(**dial)
    client.send(request(f"/stream?name={name}{more}"))
    assert client.read_head().status == 200
    return client


def closed_once(server: ServerProcess, name: str, code: int) -> None:
    """Demand that the session was told its end, once, as its last call, and from nobody else's loop."""
    assert server.wait_for(name, "closed") == ["closed", code, []]
    of_the_run = ("endpoint-finally", "http.disconnect", "cancelled")
    calls = [note[0] for note in server.journal(name) if note[0] not in of_the_run]
    assert calls.count("closed") == 1
    assert calls[-1] == "closed"


# The response.


def test_stream_is_a_chunked_response(server: ServerProcess, name: str) -> None:
    """The head holds the application's headers and the server's own, then come chunks, the last one and the FIN."""
    client = server.dial()
    client.send(request(f"/stream?name={name}", method="POST", body=b"first"))
    head = client.read_head()
    assert head.status == 200
    given = dict(head.headers)
    assert given.pop("date").endswith("GMT")
    expected = {"content-type": "text/event-stream", "transfer-encoding": "chunked", "connection": "close"}
    assert given == {**expected, "server": "daphne"}
    assert client.read_chunk() == b"first"
    for size in (1, 15, 16, 255, 256, 70_000):
        server.control("write", name=name, size=size)
        assert client.read_chunk() == b"x" * size
    server.control("write", name=name, text="last")
    assert server.control("close", name=name, code=3008, then_write="after") is False
    assert client.read_chunks() == [b"last"]
    closed_once(server, name, 3008)


def test_stream_of_http_1_0_ends_with_the_connection(server: ServerProcess, name: str) -> None:
    """To an HTTP/1.0 client, nginx by default, no chunk may be sent: the body is the bare bytes up to the FIN."""
    client = server.dial()
    client.send(request(f"/stream?name={name}", method="POST", version="1.0", body=b"first "))
    head = client.read_head()
    assert (head.status, head.get("transfer-encoding"), head["connection"]) == (200, None, "close")
    server.control("write", name=name, text="second")
    server.control("close", name=name)
    assert client.read_body(Head(200, ())) == b"first second"
    closed_once(server, name, 1000)


def test_stream_of_a_head_request_has_no_body(server: ServerProcess, name: str) -> None:
    """HEAD: the head, the FIN, and closed(1000); what the session writes goes nowhere."""
    client = server.dial()
    client.send(request(f"/stream?name={name}", method="HEAD"))
    assert client.read_head().status == 200
    assert client.read_body(Head(200, ())) == b""
    closed_once(server, name, 1000)


@pytest.mark.parametrize("size", [3, 90_000, 1_000_000])
@pytest.mark.parametrize("is_chunked", [True, False])
def test_body_is_read_before_the_detach(server: ServerProcess, name: str, size: int, is_chunked: bool) -> None:
    """A POST's body is there, whole, before the response begins: in pieces, with a length or in chunks."""
    client = server.dial()
    body = bytes(secrets.choice(b"abcdef") for _ in range(1000)) * (size // 1000) + b"end"
    how = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(body)}"
    client.send(request(f"/stream?name={name}", how, method="POST"))
    for start in range(0, len(body), 100_000):
        assert server.journal(name) == [], "the application was asked before the body was there"
        piece = body[start : start + 100_000]
        client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
    if is_chunked:
        client.send(b"0\r\n\r\n")
    assert client.read_head().status == 200
    got = b""
    while len(got) < len(body):
        got += client.read_chunk() or b"the end"
    assert got == body


@pytest.mark.parametrize("more", ["&status=204", "&status=304", "&status=101", "&begun=1", "&header=a%0d%0ab"])
def test_head_that_cannot_be_is_refused(server: ServerProcess, name: str, more: str) -> None:
    """Trap 47: a detach that is not in place raises in the application; the client gets 500, or a cut response."""
    server.fault_expected = True
    client = server.dial()
    client.send(request(f"/stream?name={name}{more}"))
    if "begun" in more:
        assert client.ending() == "rst"
    else:
        assert client.read_head().status == 500
    server.wait_for(name, "refused")
    assert [note[0] for note in server.journal(name)] == ["called", "refused", "endpoint-finally"]


def test_streams_and_sockets_share_a_room(server: ServerProcess, name: str) -> None:
    """One broadcast reaches both kinds, in each one's framing and in order."""
    names = [f"{name}{number}" for number in range(6)]
    streams = [open_stream(server, one) for one in names[:3]]
    sockets = [server.open(f"/ws/detach?name={one}") for one in names[3:]]
    for number in range(50):
        server.control("broadcast", names=names, text=f"{number}" * (number * 50 + 1))
    for number in range(50):
        expected = f"{number}" * (number * 50 + 1)
        assert [client.read_chunk() for client in streams] == [expected.encode()] * 3
        assert [client.read_text() for client in sockets] == [expected] * 3


def test_stream_tells_about_itself(server: ServerProcess, name: str) -> None:
    """`open`, `queued_bytes` and `client`, before and after the end."""
    client = open_stream(server, name)
    told = server.control("inspect", name=name)
    assert told == {"open": True, "queued_bytes": 0, "client": ["127.0.0.1", client.port]}
    client.close()
    closed_once(server, name, 1006)
    told = server.control("inspect", name=name)
    assert (told["open"], told["queued_bytes"]) == (False, 0)


def test_client_of_a_stream_is_who_the_proxy_says(start: Callable[..., ServerProcess], name: str) -> None:
    """`client` of a stream, as of a WebSocket, is what the proxy's header says."""
    server = start("--proxy-headers")
    client = server.dial()
    client.send(request(f"/stream?name={name}", "X-Forwarded-For: 192.0.2.7"))
    client.read_head()
    assert server.control("inspect", name=name)["client"] == ["192.0.2.7", 0]


def test_access_log_has_the_stream_at_its_end(start: Callable[..., ServerProcess], name: str) -> None:
    """One line when the stream is over, without the query string: a token may stand there."""
    server = start("--access-log", "-")
    client = open_stream(server, name, "&token=secret")
    assert "/stream" not in server.log
    client.close()
    wait_until(lambda: re.search(r'"GET /stream" 200 -$', server.log, re.MULTILINE))
    assert "secret" not in server.log


# Nothing of the request is kept.


def test_detach_leaves_nothing_of_the_request(start: Callable[..., ServerProcess], name: str) -> None:
    """Traps 11, 24, 27, 42 and 48: no task, entry, request, channel or context outlives the detach."""
    server = start()
    open_stream(server, name, "&kind=silent")
    before = server.control("objects")
    clients = [open_stream(server, name, "&kind=silent") for _ in range(30)]
    wait_until(lambda: server.control("counts")["entries"] == 1)  # this very request
    assert server.control("counts")["tasks"] <= 3
    wait_until(lambda: server.control("counts")["markers"] == 0, what="the end of every request's context")
    after = server.control("objects")
    kinds = ("clarion.server.http.HttpRequest", "twisted.web.http.HTTPChannel", "twisted.web.http_headers.Headers")
    assert {kind: after.get(kind, 0) - before.get(kind, 0) for kind in kinds} == dict.fromkeys(kinds, 0)
    assert after["clarion.server.stream.HttpStream"] - before["clarion.server.stream.HttpStream"] == 30
    for client in clients:
        client.close()


def test_ended_stream_leaves_no_cycle(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 13: with the collector off, an ended stream's objects are gone by their reference counts."""
    server = start()
    open_stream(server, name, "&kind=silent").close()
    server.control("objects")
    server.control("collector", enabled=False)
    before = server.control("objects", collect=False)
    for number in range(30):
        client = open_stream(server, name, "&kind=silent")
        client.reset() if number % 2 else client.close()

    def grown() -> dict[str, int]:
        after = server.control("objects", collect=False)
        kinds = [kind for kind in after if kind.startswith(("clarion.server.", "twisted.web."))]
        return {kind: after[kind] - before.get(kind, 0) for kind in kinds if after[kind] > before.get(kind, 0) + 2}

    try:
        wait_until(lambda: not grown(), 10)
    except AssertionError:
        raise AssertionError(f"kept by cycles: {grown()}") from None


def test_idle_stream_is_small(start: Callable[..., ServerProcess], name: str) -> None:
    """An idle stream holds as little as an idle WebSocket."""
    server = start(env={"PYTHONTRACEMALLOC": "1"})
    clients = [open_stream(server, name, "&kind=silent") for _ in range(20)]
    bytes_before, objects_before = server.control("traced"), server.control("objects")[""]
    clients += [open_stream(server, name, "&kind=silent") for _ in range(200)]
    wait_until(lambda: server.control("counts")["markers"] == 0)
    grown = (server.control("traced") - bytes_before) / 200
    objects = (server.control("objects")[""] - objects_before) / 200
    assert grown < 4_000, f"{grown:.0f} bytes for each stream"
    assert objects < 20, f"{objects:.1f} objects for each stream"


# Clients that leave, or were gone.


def test_detach_behind_a_loss_reaches_no_stranger(server: ServerProcess, name: str) -> None:
    """Trap 1: gone before the detach: closed(1006), never attached; its writes reach nobody who has its number."""
    client = server.dial()
    client.send(request(f"/stream?name={name}&late=1"))
    server.wait_for(name, "called")
    descriptor = server.descriptor(client)
    assert descriptor is not None
    port = client.port
    client.reset()
    wait_until(lambda: descriptor not in open_descriptors(server, port), what="the end of the reset connection")
    stranger, _ = stranger_on(server, descriptor)
    server.control("open_gate", name=name)
    closed_once(server, name, 1006)
    assert server.control("inspect", name=name)["open"] is False
    server.control("write", name=name, text="secret")
    stranger.send(text("echo mine"))
    assert stranger.read_text() == "mine"


def test_write_to_a_lost_stream_reaches_no_stranger(server: ServerProcess, name: str) -> None:
    """Trap 1: a stream kept in a member list is dead for writes from the moment that its socket is lost."""
    client = open_stream(server, name)
    descriptor = server.descriptor(client)
    assert descriptor is not None
    client.reset()
    closed_once(server, name, 1006)
    stranger, _ = stranger_on(server, descriptor)
    server.control("write", name=name, text="secret")
    server.control("close", name=name)
    stranger.send(text("echo mine"))
    assert stranger.read_text() == "mine"


@pytest.mark.parametrize("ending", ["fin", "half", "rst"])
def test_client_that_leaves_is_noticed(server: ServerProcess, name: str, ending: str) -> None:
    """A FIN as well as an RST is closed(1006), at once, and the descriptor is free."""
    client = open_stream(server, name)
    port = client.port
    {"fin": client.close, "half": client.half_close, "rst": client.reset}[ending]()
    closed_once(server, name, 1006)
    wait_until(lambda: not open_descriptors(server, port))


def test_reset_behind_last_bytes_is_noticed(server: ServerProcess, name: str) -> None:
    """Trap 9: bytes and an RST in one turn: libuv stops watching after the bytes, so the loss must be looked for."""
    client = open_stream(server, name)
    blocked = server.block(0.5)
    client.send(GET)
    client.reset()
    assert blocked.read_head().status == 200
    assert server.wait_for(name, "closed", timeout_s=6) == ["closed", 1006, []]


def test_write_to_a_reset_client_is_no_error(server: ServerProcess, name: str) -> None:
    """Traps 9 and 10: a send that fails ends the stream, from the loop and never from inside write()."""
    client = open_stream(server, name)
    blocked = server.block(0.5, write_to=name, times=50)
    client.reset()
    assert blocked.read_head().status == 200
    closed_once(server, name, 1006)


def test_request_behind_a_stream_is_dropped(server: ServerProcess, name: str) -> None:
    """What the client sends behind its request reaches no application, whenever it comes."""
    behind = request(f"/stream?name={name}2")
    client = server.dial()
    client.send(request(f"/stream?name={name}") + behind)
    assert client.read_head().status == 200
    client.send(behind)
    server.control("write", name=name, text="on")
    assert client.read_chunk() == b"on"
    server.control("close", name=name)
    assert client.read_chunks() == []
    assert server.journal(f"{name}2") == []


def test_sender_on_a_stream_is_cut(server: ServerProcess, name: str) -> None:
    """A client that goes on sending behind its request is cut after a bounded number of bytes."""
    client = open_stream(server, name)
    assert pour(client, b"x" * 30_000, limit_bytes=30_000_000) < 10_000_000
    closed_once(server, name, 1006)


def test_paused_connection_is_read_again(server: ServerProcess, name: str) -> None:
    """Traps 24 and 46: Twisted pauses who sends 16 KiB behind a request; its FIN is noticed all the same."""
    client = server.dial()
    client.send(request(f"/stream?name={name}&late=1") + b"x" * 50_000)
    server.wait_for(name, "called")
    server.control("open_gate", name=name)
    assert client.read_head().status == 200
    server.control("objects")
    wait_until(lambda: server.control("counts")["markers"] == 0, what="the end of the request's context")
    client.half_close()
    closed_once(server, name, 1006)


def test_stream_waits_for_the_answer_before_it(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 45: a stream that is pipelined behind a long answer begins behind that answer, not inside it."""
    server = start("--max-queued-bytes", "10000000")
    client = server.dial(receive_buffer=8192)
    client.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n" + request(f"/stream?name={name}"))
    server.wait_for(name, "endpoint-finally")
    server.control("write", name=name, text="behind")
    assert client.read_body(client.read_head()) == b"x" * 5_000_000
    assert client.read_head().status == 200
    assert client.read_chunk() == b"behind"


# Slow readers, and the end.


def test_stalled_stream_is_ended_at_its_limit(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 5: over `max_queued_bytes` a stream ends: closed(1013) from the loop, and a reset five seconds later."""
    server = start("--max-queued-bytes", "262144")
    client = open_stream(server, name, receive_buffer=4096)
    most = server.control("write", name=name, size=60_000, times=200)
    assert most <= 262_144 + 60_010
    closed_once(server, name, 1013)
    wait_until_released(server, client)
    assert client.ending() == "rst"


@pytest.mark.parametrize("door", ["direct", "kept-alive"])
def test_end_behind_a_long_queue_arrives(server: ServerProcess, name: str, door: str) -> None:
    """Trap 7: with far over 64 KiB queued, the rest, the last chunk and the FIN all come once the client reads."""
    client = server.dial(receive_buffer=4096)
    if door == "kept-alive":
        client.send(GET)
        assert client.read_body(client.read_head()) == b"hello"
    client.send(request(f"/stream?name={name}"))
    assert client.read_head().status == 200
    count = server.control("fill", name=name, size=60_000)
    server.control("write", name=name, text="last")
    server.control("close", name=name, code=4004)
    server.control("write", name=name, text="too late")
    client.send(b"x" * 200_000)  # trap 8: what is sent to an ended stream must not turn its tail into a reset
    chunks = client.read_chunks()
    assert [found.partition(b":")[0] for found in chunks] == [*(b"%d" % number for number in range(count)), b"last"]
    assert all(found.partition(b":")[2] == b"x" * (number * 7919 % 60_000) for number, found in enumerate(chunks[:-1]))
    closed_once(server, name, 4004)


def test_ended_stream_is_released_by_a_deadline(server: ServerProcess, name: str) -> None:
    """Traps 3 and 5: who does not hang up, or does not read, is cut some seconds after the end of the body."""
    lingering = open_stream(server, f"{name}-lingering")
    server.control("close", name=f"{name}-lingering")
    assert lingering.read_chunks() == []
    sending = open_stream(server, f"{name}-sending")
    server.control("close", name=f"{name}-sending")
    sending.send(b"x" * 100_000)
    assert sending.read_chunks() == []
    stalled = open_stream(server, f"{name}-stalled", receive_buffer=4096)
    server.control("fill", name=f"{name}-stalled", size=60_000)
    server.control("close", name=f"{name}-stalled", code=4002)
    for client, end, code in [(lingering, "lingering", 1000), (sending, "sending", 1000), (stalled, "stalled", 4002)]:
        wait_until_released(server, client)
        closed_once(server, f"{name}-{end}", code)


def test_lifetime_of_a_stream(start: Callable[..., ServerProcess], name: str) -> None:
    """`--websocket_timeout` ends a stream by age, with closed(1012); `--http-timeout` does not touch it."""
    server = start("--http-timeout", "1", "--websocket_timeout", "5")
    client = open_stream(server, name, "&then=stay")
    kept = server.open(f"/ws/detach?name={name}2")
    assert client.is_silent(3.5), "cut by the timeout of an ordinary response"
    assert client.read_chunks() == []
    closed_once(server, name, 1012)
    assert kept.read_close().close_code == 1012


# The application behind it.


def test_application_that_fails_behind_the_detach_ends_the_stream(server: ServerProcess, name: str) -> None:
    """Trap 36: it is logged with its traceback, and the session is told 1011."""
    server.fault_expected = True
    since = len(server.log)
    client = open_stream(server, name, "&then=raise")
    assert client.read_chunks() == []
    closed_once(server, name, 1011)
    wait_until(lambda: "raised behind the detach" in server.log[since:])


def test_application_cannot_write_to_its_stream(server: ServerProcess, name: str) -> None:
    """A body that the application sends behind the detach is dropped; a second head raises in it."""
    server.fault_expected = True
    client = open_stream(server, name, "&then=body")
    assert client.read_chunks() == [b"the session's"]
    server.wait_for(name, "refused", "the response has begun already")
    closed_once(server, name, 1011)


def test_application_that_stays_is_told_and_cancelled(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 41: an application that goes on running gets `http.disconnect`, and is cancelled if it does not leave."""
    server = start("--application-close-timeout", "1")
    client = open_stream(server, name, "&then=stay")
    server.control("write", name=name, text="on")
    assert client.read_chunk() == b"on"
    client.close()
    server.wait_for(name, "http.disconnect")
    server.wait_for(name, "cancelled")
    wait_until(lambda: server.control("counts")["entries"] == 1)


# The server's limits and its end.


def test_cap_holds_for_streams(start: Callable[..., ServerProcess], name: str) -> None:
    """Over `--max-connections`: 503 with Retry-After, and closed(1013); both kinds count, ended ones do not."""
    server = start("--max-connections", "2")
    first, second = open_stream(server, name), server.open("/ws/echo")
    answer = server.request(f"/stream?name={name}3")
    assert answer.status == 503
    assert int(dict(answer.headers)["retry-after"]) >= 1
    closed_once(server, f"{name}3", 1013)
    assert server.control("inspect", name=f"{name}3")["open"] is False
    assert server.dial().upgrade("/ws/echo").status == 503
    assert server.request("/plain").status == 200
    first.close()
    closed_once(server, name, 1006)
    assert open_stream(server, f"{name}4")
    second.send(text("still"))
    assert second.read_text() == "still"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_drain_ends_streams(start: Callable[..., ServerProcess], name: str, number: signal.Signals) -> None:
    """Traps 37 and 38: what waits, the last chunk and the FIN arrive; sessions are told 1012; exit code 0."""
    server = start()
    clients = [open_stream(server, f"{name}{index}", "&drain=none") for index in range(20)]
    slow = open_stream(server, f"{name}slow", "&drain=none", receive_buffer=4096)
    count = server.control("fill", name=f"{name}slow", size=60_000)
    server.signal(number)
    assert [client.read_chunks() for client in clients] == [[b"goodbye"]] * 20
    chunks = slow.read_chunks()
    assert [found.partition(b":")[0] for found in chunks] == [*(b"%d" % n for n in range(count)), b"goodbye"]
    for client in [*clients, slow]:
        client.close()
    assert server.wait(30) == 0
    assert all(f"{name}{index}: closed 1012" in server.log for index in [*range(20), "slow"])


@pytest.mark.parametrize("how", DRAIN)
def test_sessions_say_goodbye(start: Callable[..., ServerProcess], name: str, how: str) -> None:
    """`drain()`: a session writes and closes with its own code; what it leaves open, or fails to close, gets 1012."""
    server = start()
    server.fault_expected = how == "raises"
    stream = open_stream(server, f"{name}s", f"&drain={how}")
    socket = server.open(f"/ws/detach?name={name}w&drain={how}")
    server.signal()
    code, words = (4100, "own words") if how == "says" else (1012, "the server is restarting")
    said = [b"goodbye"] if how != "raises" else []
    assert stream.read_chunks() == said
    frames = [socket.read_frame() for _ in range(len(said) + 1)]
    assert [found.payload for found in frames[:-1] if found] == said
    assert frames[-1] is not None
    assert (frames[-1].close_code, frames[-1].reason) == (code, words)
    socket.send(close(code))
    stream.close()
    socket.close()
    assert server.wait(30) == 0
    for one in (f"{name}s", f"{name}w"):
        assert server.log.count(f"{one}: drain\n") == 1
        assert server.log.count(f"{one}: closed {code}\n") == 1
    assert ("raised by drain()" in server.log) == (how == "raises")


def test_drain_refuses_late_streams(start: Callable[..., ServerProcess], name: str) -> None:
    """A request that would detach while the server leaves gets 503, and its session 1012."""
    server = start("--drain", "15")
    holding = server.open(f"/ws/slow_end?name={name}&seconds=6")
    client = server.dial()
    client.send(request(f"/stream?name={name}&late=1&drain=says"))
    server.wait_for(name, "called")
    opener = server.dial()
    opener.send(GET)
    opener.read_body(opener.read_head())
    server.signal()
    assert holding.read_close().close_code == 1012
    opener.send(b"POST /control/open_gate HTTP/1.1\r\nHost: x\r\n")
    body = b'{"name": "%b"}' % name.encode()
    opener.send(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    answer = read_answer(client)
    assert (answer.status, dict(answer.headers)["connection"]) == (503, "close")
    holding.send(close(1012))
    holding.close()
    assert server.wait(30) == 0
    assert f"{name}: closed 1012" in server.log


# Other transports.


@pytest.fixture
def tls_server(start: Callable[..., ServerProcess], tmp_path: Path) -> ServerProcess:
    """A server on an `ssl:` endpoint with a certificate of its own."""
    key, certificate = write_certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(certificate))
    port = free_port()
    endpoint = f"ssl:port={port}:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    return start("-e", endpoint, address=("127.0.0.1", port), tls=context)


def test_tls_carries_streams_encrypted(tls_server: ServerProcess, name: str) -> None:
    """Trap 2: no byte of a stream goes out in clear; order, the last chunk and the close alert are there."""
    for door in (b"", GET):
        one = f"{name}{len(door)}"
        client = tls_server.dial()
        assert isinstance(client.stream, TlsStream)
        if door:
            client.send(door)
            client.read_body(client.read_head())
        client.send(request(f"/stream?name={one}"))
        assert client.read_head().status == 200
        marker = secrets.token_hex(200)
        tls_server.control("broadcast", names=[one], text=marker)
        assert client.read_chunk() == marker.encode()
        tls_server.control("write_numbers", name=one, count=60, size=20_000)
        tls_server.control("close", name=one, code=4001)
        chunks = client.read_chunks()
        assert [found.partition(b":")[0] for found in chunks] == [b"%d" % number for number in range(60)]
        assert marker.encode() not in client.stream.wire
        assert b"text/event-stream" not in client.stream.wire
        client.close()
        closed_once(tls_server, one, 4001)


def test_tls_stream_that_is_lost_is_noticed(tls_server: ServerProcess, name: str) -> None:
    """A TLS client that hangs up, or does not read, ends as every other."""
    client = open_stream(tls_server, name)
    client.close()
    closed_once(tls_server, name, 1006)
    stalled = open_stream(tls_server, f"{name}2", receive_buffer=4096)
    wait_until(lambda: tls_server.control("write", name=f"{name}2", size=60_000, times=20) == 0)
    closed_once(tls_server, f"{name}2", 1013)
    stalled.close()


def test_unix_socket_carries_streams(start: Callable[..., ServerProcess], tmp_path: Path, name: str) -> None:
    """Streams work on a unix socket, where a client has no address."""
    path = str(tmp_path / "s")
    server = start("-u", path, address=path)
    client = open_stream(server, name)
    assert server.control("inspect", name=name)["client"] is None
    server.control("write_numbers", name=name, count=50, size=20_000)
    server.control("close", name=name)
    assert [found.partition(b":")[0] for found in client.read_chunks()] == [b"%d" % number for number in range(50)]
    closed_once(server, name, 1000)


def test_scope_offers_the_connection(server: ServerProcess) -> None:
    """A request has `clarion.connection` among its extensions, as a WebSocket has."""
    extensions: dict[str, Any] = server.request("/scope").json()["extensions"]
    assert extensions == {"clarion.connection": "HttpStream"}
