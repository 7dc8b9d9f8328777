"""Channels' generic consumers and Django views, on stock daphne and on `clarion.server`: a client sees the same.

What is better here by design stands in a table of its own, with both sides' exact outcome.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.waiting import wait_until

from .raw_client import Opcode, RawClient, close, frame, text
from .server_process import ServerProcess, start_server

KINDS = ["plain", "async-plain", "json", "async-json"]
HEADERS_OF_A_HANDSHAKE = {"upgrade", "connection", "sec-websocket-accept", "sec-websocket-protocol"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Stock daphne and our server, both with the same project."""
    folder = tmp_path_factory.mktemp("compared")
    servers = [start_server(folder, kind=kind, app="compared_apps:application") for kind in ("daphne", "clarion")]
    yield servers[0], servers[1]
    for server in servers:
        server.end()


def said(kind: str, message: str) -> bytes:
    """A message as this kind of consumer takes it."""
    return text(json.dumps(message) if "json" in kind else message)


def path_of(kind: str, name: str, how: str = "") -> str:
    return f"/ws/{kind}/{how}?name={name}"


def shown(client: RawClient, *, reasons: bool = False) -> list[Any]:
    """Read to the end and write down what came, answering a Close as a browser does.

    FIN and RST count as the same: behind its Close daphne aborts, and no WebSocket client can tell.
    """
    record: list[Any] = []
    with contextlib.suppress(ConnectionError):
        while (found := client.read_frame()) is not None:
            if found.opcode == Opcode.CLOSE:
                record.append(("close", found.close_code, found.reason) if reasons else ("close", found.close_code))
                client.send(close(found.close_code))
            else:
                record.append((Opcode(found.opcode).name, found.payload))
    return record


# Conversations: each returns what the client saw.


def handshake_shown(server: ServerProcess, kind: str, name: str) -> Any:
    head = server.dial().upgrade(path_of(kind, name), "Sec-WebSocket-Protocol: first, second")
    return head.status, sorted((key, value.lower()) for key, value in head.headers if key in HEADERS_OF_A_HANDSHAKE)


def echoes(server: ServerProcess, kind: str, name: str) -> Any:
    client = server.open(path_of(kind, name))
    client.send(said(kind, "hello") + said(kind, "größe €") + said(kind, "x" * 70_000))
    if "json" not in kind:
        client.send(frame(Opcode.BINARY, bytes(range(256))))
    client.send(frame(Opcode.PING, b"ping"))
    record: list[Any] = []
    for _ in range(5 if "json" not in kind else 4):
        found = client.read_frame()
        assert found is not None
        record.append((found.opcode, found.payload))
    client.send(close(1000))
    return sorted(record), shown(client)  # a pong may overtake what the application sends


def group_messages(server: ServerProcess, kind: str, name: str) -> Any:
    one, two = server.open(path_of(kind, name)), server.open(path_of(kind, name + "2"))
    one.send(said(kind, "ready"))
    two.send(said(kind, "ready"))
    record = [one.read_text(), two.read_text()]
    one.send(said(kind, "/group to all"))
    return [*record, one.read_text(), two.read_text()]


def command(what: str) -> Callable[[ServerProcess, str, str], Any]:
    def conversation(server: ServerProcess, kind: str, name: str) -> Any:
        client = server.open(path_of(kind, name))
        client.send(said(kind, what))
        return shown(client)

    return conversation


def refused(how: str) -> Callable[[ServerProcess, str, str], Any]:
    def conversation(server: ServerProcess, kind: str, name: str) -> Any:
        return server.dial().upgrade(path_of(kind, name, how)).status

    return conversation


def sent(data: bytes) -> Callable[[ServerProcess, str, str], Any]:
    def conversation(server: ServerProcess, kind: str, name: str) -> Any:
        client = server.open(path_of(kind, name))
        client.send(data)
        return shown(client)

    return conversation


CONVERSATIONS: dict[str, Callable[[ServerProcess, str, str], Any]] = {
    "handshake": handshake_shown,
    "echoes": echoes,
    "groups": group_messages,
    "close with a code": command("/close 4001"),
    "close without a code": command("/close-plain"),
    "a message and a close": command('/last "bye"'),
    "an exception in receive": command("/raise"),
    "reject": refused("reject"),
    "an exception in connect": refused("raise"),
    "no such path": lambda server, kind, name: server.dial().upgrade(f"/ws/nothing/?name={name}").status,
    "client's close": sent(close(1000, "enough")),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", CONVERSATIONS)
def test_consumer_looks_the_same(pair: tuple[ServerProcess, ServerProcess], name: str, kind: str, what: str) -> None:
    """A client cannot tell the servers apart by a generic consumer's frames, codes and statuses."""
    on_daphne, on_clarion = (CONVERSATIONS[what](server, kind, name + str(index)) for index, server in enumerate(pair))
    assert on_clarion == on_daphne


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", ["close 3003", "reset", "FIN"])
def test_consumer_learns_the_same_code(
    pair: tuple[ServerProcess, ServerProcess], name: str, kind: str, ending: str
) -> None:
    """`disconnect(code)` gets the same code, once."""
    seen = []
    for server in pair:
        client = server.open(path_of(kind, name))
        client.send(said(kind, "hello"))
        client.read_text()
        match ending:
            case "reset":
                client.reset()
            case "FIN":
                client.half_close()
            case _:
                client.send(close(3003))
                client.ending()
        seen.append(wait_until(lambda server=server: server.request(f"/journal/{name}").json()))  # type: ignore[misc]
    assert seen[1] == seen[0]
    assert len(seen[1]) == 1


REQUESTS: dict[str, dict[str, Any]] = {
    "GET": {"path": "/hello?a=1&b=%20x", "headers": {"X-Given": "yes", "Cookie": "c=1; d=2"}},
    "HEAD": {"path": "/hello", "method": "HEAD"},
    "escaped path": {"path": "/gr%C3%B6%C3%9Fe"},
    "POST": {"path": "/body", "method": "POST", "body": b"a=1", "headers": {"Content-Type": "application/x-thing"}},
    "POST, many reads": {"path": "/body", "method": "POST", "body": b"z" * 2_000_000},
    "POST, a multiple of the buffer": {"path": "/body", "method": "POST", "body": b"z" * 8192 * 4},
    "stream": {"path": "/stream"},
    "sync stream": {"path": "/sync-stream"},
    "404": {"path": "/missing"},
    "500": {"path": "/raise"},
    "204 and cookies": {"path": "/cookies"},
    "bad header": {"path": "/hello", "headers": {"Bad\x00Name": "x"}},
}


@pytest.mark.parametrize("what", REQUESTS)
def test_view_looks_the_same(pair: tuple[ServerProcess, ServerProcess], what: str) -> None:
    """Django's answers are the same bytes, with the same headers but for the date and the server's name."""
    arguments = dict(REQUESTS[what])
    path = arguments.pop("path")
    answers = [server.request(path, **arguments) for server in pair]
    shown = [
        (answer.status, sorted(item for item in answer.headers if item[0] not in ("date", "server")), answer.body)
        for answer in answers
    ]
    assert shown[1] == shown[0]


# Where ours is better by design.


def reason_of(server: ServerProcess, kind: str, name: str) -> Any:
    client = server.open(path_of(kind, name))
    client.send(said(kind, "/close 4001 with a reason"))
    return shown(client, reasons=True)[0]


def accept_header(server: ServerProcess, kind: str, name: str) -> Any:
    return server.dial().upgrade(path_of(kind, name)).get("x-consumer")


def empty_text(server: ServerProcess, kind: str, name: str) -> Any:
    client = server.open(path_of(kind, name))
    client.send(said(kind, "/empty") + said(kind, "/close 4002"))
    return shown(client)[0]


def denial(server: ServerProcess, kind: str, name: str) -> Any:
    client = server.dial()
    client.stream.settimeout(2.5)
    try:
        return client.upgrade(path_of(kind, name, "deny")).status
    except TimeoutError:
        return "no answer"


def code_of_a_bare_close(server: ServerProcess, kind: str, name: str) -> Any:
    client = server.open(path_of(kind, name))
    client.send(close(None))
    client.ending()
    return wait_until(lambda: server.request(f"/journal/{name}").json())


def stopped(server: ServerProcess, kind: str, name: str) -> Any:
    client = server.open(path_of(kind, name))
    client.send(said(kind, "/stop"))
    try:
        found = client.read_frame(2.5)
    except TimeoutError:
        return "left open"
    return found and found.close_code


DIFFERENCES = {
    # what: (conversation, on daphne, on clarion.server), with the reason.
    # daphne/ws_protocol.py:195 passes no reason on.
    "close reason": (reason_of, ("close", 4001, ""), ("close", 4001, "with a reason")),
    # daphne/ws_protocol.py:190 takes only the subprotocol of an accept.
    "accept headers": (accept_header, None, "Plain"),
    # daphne/ws_protocol.py:204 drops what is falsy.
    "empty text": (empty_text, ("close", 4002), ("TEXT", b"")),
    # daphne has no `websocket.http.response`; the handshake waits for its timeout.
    "denial response": (denial, "no answer", 429),
    # daphne/server.py:290 leaves the socket of an application that returned.
    "application that returned": (stopped, "left open", 1000),
    # RFC 6455 section 5.5.1: an endpoint typically echoes the status code; autobahn always answers 1000.
    "echo of a close code": (sent(close(3002)), [("close", 1000)], [("close", 3002)]),
    "echo of a close without a code": (sent(close(None)), [("close", 1000)], [("close", None)]),
    # ASGI: "the WebSocket close code", 1005 where the peer gave none; autobahn passes None.
    "disconnect code of a bare close": (code_of_a_bare_close, [None], [1005]),
    # autobahn's `failByDrop`: a client that breaks the protocol loses TCP; here it learns why.
    "unmasked frame": (sent(frame(Opcode.TEXT, b"x", masked=False)), [], [("close", 1002)]),
    "reserved bits": (sent(frame(Opcode.TEXT, b"x", reserved=0x40)), [], [("close", 1002)]),
    "text that is not UTF-8": (sent(text(b"\xff")), [], [("close", 1007)]),
    "message over the limit": (sent(frame(Opcode.TEXT, b"x" * 1_100_000)[:2000]), [], [("close", 1009)]),
}


@pytest.mark.parametrize("what", DIFFERENCES)
def test_difference_is_by_design(pair: tuple[ServerProcess, ServerProcess], name: str, what: str) -> None:
    """Each difference is exactly the one that the table gives, with its reason."""
    conversation, on_daphne, on_clarion = DIFFERENCES[what]
    assert conversation(pair[0], "plain", name + "0") == on_daphne
    assert conversation(pair[1], "plain", name + "1") == on_clarion


def test_repeated_cookie_headers_are_parsed(pair: tuple[ServerProcess, ServerProcess]) -> None:
    """Both servers hand HTTP to daphne: two Cookie headers of one request reach Django alike."""
    seen = []
    for server in pair:
        client = server.dial()
        client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\nCookie: a=1\r\nCookie: b=2\r\nConnection: close\r\n\r\n")
        head = client.read_head()
        seen.append(json.loads(client.read_body(head))["cookies"])
    assert seen[1] == seen[0]
