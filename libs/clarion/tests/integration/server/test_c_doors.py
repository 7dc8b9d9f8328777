"""The two doors of a connection, sniffed and kept alive, and the scope behind them: traps 28 to 31."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.waiting import wait_until

from .raw_client import KEY, Frame, Opcode, RawClient, close, frame, handshake, pour, text
from .server_process import ServerProcess, read_answer

GET = b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n"


def scope_of(server: ServerProcess, *headers: str, path: str = "/ws/scope") -> dict[str, Any]:
    """Connect and return the scope that the application saw."""
    scope = json.loads(server.open(path, *headers).read_text())
    assert isinstance(scope, dict)
    return scope


def test_upgrade_waits_for_the_answer_before_it(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 45: an upgrade that is pipelined behind a long answer gets its 101 behind that answer, not inside it."""
    server = start("--max-queued-bytes", "10000000")
    client = server.dial(receive_buffer=8192)
    client.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n" + handshake(f"/ws/detach?name={name}"))
    server.wait_for(name, "endpoint-finally")
    assert client.read_body(client.read_head()) == b"x" * 5_000_000
    assert client.read_head().status == 101
    client.send(text("echo after"))
    assert client.read_text() == "after"


@pytest.mark.parametrize("path", ["echo", "detach"])
def test_upgrade_on_a_kept_alive_connection_keeps_its_bytes(server: ServerProcess, name: str, path: str) -> None:
    """Trap 28: frames that lie behind a second request's upgrade are not lost."""
    client = server.dial()
    behind = text("echo one") + frame(Opcode.PING, b"p")
    client.send(GET + handshake(f"/ws/{path}?name={name}") + behind)
    assert client.read_body(client.read_head()) == b"hello"
    assert client.read_head().status == 101
    client.send(text("echo two"))
    prefix = "" if path == "detach" else "echo "
    frames = [client.read_frame() for _ in range(3)]
    assert Frame(Opcode.PONG, b"p") in frames
    assert [found.payload.decode() for found in frames if found and found.opcode == Opcode.TEXT] == [
        f"{prefix}one",
        f"{prefix}two",
    ]


@pytest.mark.parametrize("door", ["direct", "kept-alive"])
def test_repeated_headers_stay_apart(server: ServerProcess, door: str) -> None:
    """Trap 28: two Cookie headers are two entries of the scope; joined by a comma they are broken cookies."""
    client = server.dial()
    if door == "kept-alive":
        client.send(GET)
        client.read_body(client.read_head())
    client.open("/ws/scope", "Cookie: a=1", "Cookie: b=2")
    scope = json.loads(client.read_text())
    assert [value for header, value in scope["headers"] if header == "cookie"] == ["a=1", "b=2"]


@pytest.mark.parametrize("door", ["direct", "kept-alive"])
def test_connection_cap_answers_503(start: Callable[..., ServerProcess], name: str, door: str) -> None:
    """Traps 28 and 42: over the cap: 503 with Retry-After; detached connections count, closed ones do not."""
    server = start("--max-connections", "2")

    def dial() -> RawClient:
        client = server.dial()
        if door == "kept-alive":
            client.send(GET)
            client.read_body(client.read_head())
        return client

    first = dial().open(f"/ws/detach?name={name}")
    second = dial().open(f"/ws/echo?name={name}2")
    server.wait_for(name, "endpoint-finally")
    head = dial().upgrade(f"/ws/echo?name={name}3")
    assert head.status == 503
    assert int(head["retry-after"]) >= 1
    assert server.journal(f"{name}3") == [], "a refused handshake must cost no application call"
    first.send(close(1000))
    first.read_frames()
    first.close()
    server.wait_for(name, "closed")
    wait_until(lambda: dial().upgrade("/ws/echo").status == 101)
    second.send(text("still"))
    assert second.read_text() == "still"


def test_http_in_single_bytes(server: ServerProcess) -> None:
    """Trap 29: the first bytes are looked at only when there are enough of them; none is lost."""
    client = server.dial()
    for byte in b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc":
        client.send(bytes([byte]))
    answer = read_answer(client)
    assert (answer.status, answer.body) == (200, b"3")


def test_upgrade_in_single_bytes(server: ServerProcess) -> None:
    """Trap 29: a handshake in one-byte segments, with a frame behind it."""
    client = server.dial()
    for byte in handshake("/ws/echo") + text("slow"):
        client.send(bytes([byte]))
    assert client.read_head().status == 101
    assert client.read_text() == "slow"


def test_http_body_behind_the_head(server: ServerProcess) -> None:
    """Trap 29: a request whose body is larger than one read arrives whole, and pipelined requests are answered."""
    answer = server.request("/length", method="POST", body=b"b" * 3_000_000)
    assert answer.body == b"3000000"
    client = server.dial()
    client.send(GET * 3)
    assert [client.read_body(client.read_head()) for _ in range(3)] == [b"hello"] * 3


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\nX-Long: ", b"GET /ws/echo HTTP/1.1\r\nUpgrade: websocket\r\nX-Long: ", b"G" * 9]
)
def test_endless_head_is_cut(server: ServerProcess, first: bytes) -> None:
    """Trap 29: a head that does not end is refused after a bounded number of bytes."""
    client = server.dial()
    client.send(first)
    sent = pour(client, b"x" * 50_000, limit_bytes=20_000_000)
    assert sent < 8_000_000


def test_unfinished_head_is_cut_by_a_deadline(start: Callable[..., ServerProcess]) -> None:
    """Trap 29: until a protocol is chosen the timeout is ours: a silent client does not keep its socket."""
    server = start("--websocket_connect_timeout", "1")
    clients = [server.dial() for _ in range(3)]
    clients[1].send(b"GET /ws/ec")
    clients[2].send(b"GET /ws/echo HTTP/1.1\r\nUpgrade: websocket\r\n")
    assert all(client.ending(15) in ("fin", "rst") for client in clients)


def test_unanswered_handshake_is_refused_by_a_deadline(start: Callable[..., ServerProcess], name: str) -> None:
    """An application that does not answer in `--websocket_connect_timeout` sees a disconnect, the client a status."""
    server = start("--websocket_connect_timeout", "1")
    client = server.dial()
    client.send(handshake(f"/ws/before?do=hang&name={name}"))
    assert client.read_head().status in (403, 408, 503, 504)
    server.wait_for(name, "websocket.disconnect")


@pytest.mark.parametrize(
    ("upgrades", "status"),
    [
        (["Upgrade: WebSocket"], 101),
        (["Upgrade: websocket", "Upgrade: h2c"], 426),  # ours to answer, and `websockets` takes one value only
        (["Upgrade: h2c", "Upgrade: websocket"], 200),
        (["Upgrade: h2c, websocket"], 200),
        (["Upgrade: websocket2"], 200),
        (["X-Upgrade: websocket"], 200),
    ],
)
def test_upgrade_is_decided_as_daphne_does(server: ServerProcess, upgrades: list[str], status: int) -> None:
    """Trap 30: the first Upgrade value decides, so the two doors can never send a request back and forth."""
    request = handshake("/ws/echo").decode().replace("Upgrade: websocket", "\r\n".join(upgrades), 1)
    for prefix in (b"", GET):
        client = server.dial()
        client.send(prefix + request.encode())
        if prefix:
            client.read_body(client.read_head())
        assert client.read_head().status == status


@pytest.mark.parametrize("door", ["direct", "kept-alive"])
def test_scope_is_daphnes(server: ServerProcess, door: str) -> None:
    """Trap 30: path and root path, query string, header names, addresses, subprotocols and the ASGI version."""
    client = server.dial()
    if door == "kept-alive":
        client.send(GET)
        client.read_body(client.read_head())
    headers = ("X_Spoof: 1", "Daphne-Root-Path: /evil", "X-Mixed-Case: Value", "Sec-WebSocket-Protocol: a, b")
    client.open("/ws/scope/gr%C3%B6%C3%9Fe%20x?q=%20a&b=%2F", *headers)
    scope = json.loads(client.read_text())
    names = [header for header, _ in scope["headers"]]
    assert scope["type"] == "websocket"
    assert scope["path"] == "/ws/scope/größe x"
    assert scope["raw_path"] == "/ws/scope/gr%C3%B6%C3%9Fe%20x"
    assert scope["query_string"] == "q=%20a&b=%2F"
    assert scope["root_path"] == ""
    assert scope["subprotocols"] == ["a", "b"]
    assert list(scope["client"]) == ["127.0.0.1", client.port]
    assert list(scope["server"]) == list(server.address)
    assert scope["scheme"] == "ws"
    assert not {"x_spoof", "daphne-root-path"} & set(names)
    assert ["x-mixed-case", "Value"] in scope["headers"]
    assert ["sec-websocket-key", KEY] in scope["headers"]
    assert tuple(map(int, scope["asgi"]["spec_version"].split("."))) >= (2, 4)
    assert scope["asgi"]["version"] == "3.0"
    assert "websocket.http.response" in scope["extensions"]


def test_network_cannot_set_the_root_path(start: Callable[..., ServerProcess]) -> None:
    """Trap 30: a `Daphne-Root-Path` from the network is dropped, for HTTP as well; the option holds."""
    server = start("--root-path", "/mounted")
    scope = scope_of(server, "Daphne-Root-Path: /evil")
    assert scope["root_path"] == "/mounted"
    answer = server.request("/scope", headers={"Daphne-Root-Path": "/evil"}).json()
    assert answer["root_path"] == "/mounted"
    assert "daphne-root-path" not in [header for header, _ in answer["headers"]]


def test_client_address_is_what_the_proxy_set(start: Callable[..., ServerProcess]) -> None:
    """Of an X-Forwarded-For list the last element counts, the one that nginx wrote; the rest may be forged."""
    server = start("--proxy-headers")
    forged = "X-Forwarded-For: 6.6.6.6, 192.0.2.7"
    assert scope_of(server, forged)["client"][0] == "192.0.2.7"
    assert scope_of(server, "X-Forwarded-For: 192.0.2.8")["client"][0] == "192.0.2.8"
    assert scope_of(server, "X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 192.0.2.9")["client"][0] == "192.0.2.9"
    assert scope_of(server, "X-Forwarded-For: nonsense, ")["client"][0] in ("127.0.0.1", "nonsense")
    assert (
        server.request("/scope", headers={"X-Forwarded-For": "6.6.6.6, 192.0.2.7"}).json()["client"][0] == "192.0.2.7"
    )
    assert scope_of(server)["client"][0] == "127.0.0.1"


def test_proxy_header_is_ignored_unless_configured(server: ServerProcess) -> None:
    """Without `--proxy-headers` no header can change the client's address."""
    assert scope_of(server, "X-Forwarded-For: 6.6.6.6", "X-Real-IP: 6.6.6.6")["client"][0] == "127.0.0.1"


def test_named_proxy_header_is_the_only_one(start: Callable[..., ServerProcess]) -> None:
    """With `--proxy-headers-host X-Real-IP` only that header counts."""
    server = start("--proxy-headers", "--proxy-headers-host", "X-Real-IP")
    assert scope_of(server, "X-Forwarded-For: 6.6.6.6", "X-Real-IP: 192.0.2.1")["client"][0] == "192.0.2.1"


def test_http_keep_alive_outlasts_nginx(server: ServerProcess) -> None:
    """Trap 31: an idle HTTP connection is kept longer than nginx's 60 s, so that nginx is the one who closes."""
    assert server.control("keep_alive") > 60


def test_reset_behind_an_http_request_is_noticed(start: Callable[..., ServerProcess]) -> None:
    """Traps 9 and 27: a client that is reset right behind its request leaves no application and no entry."""
    server = start("--application-close-timeout", "1", "--drain", "1")
    for _ in range(3):
        client = server.dial()
        client.send(b"GET /hang HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.reset()
    server.wait_for("hang", "entered")
    wait_until(lambda: server.control("counts")["entries"] == 1, 15, what="the end of the lost requests")  # this one
    assert server.journal("hang").count(["left"]) == server.journal("hang").count(["entered"])
