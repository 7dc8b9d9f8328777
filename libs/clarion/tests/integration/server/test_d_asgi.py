"""ASGI's promises: traps 36, 41, 42 and 44; 43 is in `test_d_database.py`."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.support.waiting import wait_until

from .raw_client import Frame, Opcode, RawClient, close, text
from .server_process import ServerProcess

ACCEPT_AGAIN = {"type": "websocket.accept"}


def run_steps(server: ServerProcess, name: str, *steps: object) -> RawClient:
    """Let the script endpoint do some steps."""
    client = server.open(f"/ws/script?name={name}")
    client.send(text(json.dumps(steps)))
    return client


# An application's end.


def test_application_that_returns_closes_normally(server: ServerProcess, name: str) -> None:
    """Trap 36: an application that returns without detaching closes its socket with 1000."""
    client = run_steps(server, name, "return")
    assert client.read_close().close_code == 1000
    client.send(text("more") + close(1000))
    assert client.read_frames() == []


def test_application_that_raises_closes_with_1011(server: ServerProcess, name: str) -> None:
    """Trap 36: an application that raises is logged with its traceback and closes with 1011."""
    server.fault_expected = True
    since = len(server.log)
    client = run_steps(server, name, "raise")
    found = client.read_close()
    assert found.close_code == 1011
    assert "raised" not in found.reason, "the client learns nothing of the defect"
    wait_until(lambda: "raised by the script" in server.log[since:])


@pytest.mark.parametrize(("do", "status"), [("return", 500), ("raise", 500), ("reject", 403)])
def test_application_that_ends_before_accept(server: ServerProcess, name: str, do: str, status: int) -> None:
    """Trap 36: before accept a return or an exception is a 500, a close is a 403."""
    server.fault_expected = do != "reject"
    client = server.dial()
    head = client.upgrade(f"/ws/before?do={do}&name={name}")
    assert head.status == status
    assert b"raised" not in client.read_body(head)
    assert client.ending() == "fin"


def test_ended_applications_leave_no_entry(server: ServerProcess, name: str) -> None:
    """Trap 36: whichever way an application ends, its entry goes at once and messages are not queued for nobody."""
    server.fault_expected = True
    server.control("objects")
    before = server.control("counts")["entries"]
    clients = [run_steps(server, f"{name}{index}", step) for index, step in enumerate(["return", "raise"] * 5)]
    clients += [server.open(f"/ws/detach?name={name}-{index}") for index in range(10)]
    for client in clients[:10]:
        client.read_close()
        client.send(text("to nobody") * 100)
    wait_until(lambda: server.control("counts")["entries"] <= before + 2)


def test_denial_response_is_sent(server: ServerProcess, name: str) -> None:
    """ASGI's `websocket.http.response`: a rejection with its own status, headers and body."""
    client = server.dial()
    head = client.upgrade(f"/ws/before?do=deny&name={name}")
    assert (head.status, head.get("content-type"), head.get("x-why")) == (418, "text/plain", "because")
    assert b"short and stout" in client.read_body(head)
    assert client.ending() == "fin"


def test_accept_carries_headers_and_subprotocol(server: ServerProcess) -> None:
    """The accept message's headers and subprotocol are in the 101."""
    head = server.dial().upgrade("/ws/echo?headers=1", "Sec-WebSocket-Protocol: clarion, token")
    assert (head.status, head.get("sec-websocket-protocol")) == (101, "clarion")
    assert (head.get("x-first"), head.get("x-second")) == ("1", "2")
    assert server.dial().upgrade("/ws/echo").get("sec-websocket-protocol") is None


def test_token_beside_the_subprotocol_is_legal(server: ServerProcess) -> None:
    """A JWT stands in a subprotocol list as it is, and is never echoed."""
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl-_"
    head = server.dial().upgrade("/ws/offer?choose=clarion", f"Sec-WebSocket-Protocol: clarion, {token}")
    assert (head.status, head.get("sec-websocket-protocol")) == (101, "clarion")


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([ACCEPT_AGAIN], id="accept twice"),
        pytest.param([{"type": "websocket.nonsense"}], id="an unknown type"),
        pytest.param([{"text": "no type"}], id="no type"),
        pytest.param([{"type": "websocket.send", "text": "a", "bytes": "00"}], id="both text and bytes"),
        pytest.param([{"type": "websocket.http.response.start", "status": 200, "headers": []}], id="a late denial"),
    ],
)
def test_wrong_messages_raise_in_the_application(server: ServerProcess, name: str, steps: list[object]) -> None:
    """A message that ASGI forbids raises in the application that sent it, and the connection is none the worse."""
    client = run_steps(server, name, *steps, {"type": "websocket.send", "text": "still here"})
    assert client.read_text() == "still here"
    assert [note[0] for note in server.journal(name)] == ["refused", "sent"]
    assert server.journal(name)[0][2] is False, "a mistake is no loss of the connection"


def test_empty_and_binary_sends(server: ServerProcess, name: str) -> None:
    """An empty text and empty bytes are messages; None beside the other key is none."""
    send = {"type": "websocket.send"}
    client = run_steps(
        server, name, {**send, "text": ""}, {**send, "bytes": "", "text": None}, {**send, "bytes": "00ff", "text": None}
    )
    assert [client.read_frame() for _ in range(3)] == [
        Frame(Opcode.TEXT, b""),
        Frame(Opcode.BINARY, b""),
        Frame(Opcode.BINARY, b"\x00\xff"),
    ]


# Disconnect, receive, send.


def test_disconnect_is_once_and_last_behind_a_full_queue(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 41: with the inbound queue full the disconnect still arrives, once, behind what was received."""
    server = start("--options", '{"max_inbound": 4}', kind="launch")
    client = server.open(f"/ws/hold?name={name}")
    for number in range(20):
        client.send(text(str(number)))
    client.send(text("report") + close(4100, "bye"))
    server.wait_for(name, "accepted")
    server.control("open_gate", name=name)
    assert server.wait_for(name, "ordered") == ["ordered", 21, True]
    assert server.wait_for(name, "disconnect") == ["disconnect", 4100, "bye"]
    assert server.journal(name)[-1][0] == "disconnect"


def test_cancelled_receive_loses_nothing(server: ServerProcess, name: str) -> None:
    """Trap 41: a receive() that is cancelled while it waits takes no message with it."""
    client = server.open(f"/ws/cancelling?name={name}")
    for number in range(200):
        client.send(text(str(number)))
        if number % 20 == 0:
            server.wait_for(name, "received", str(number))
    client.send(close(1000))
    server.wait_for(name, "disconnect", 1000)
    assert [note[1] for note in server.journal(name)[:-1]] == [str(number) for number in range(200)]


def test_send_after_loss_raises_oserror(server: ServerProcess, name: str) -> None:
    """Trap 41: ASGI 2.4: after the disconnect send() raises OSError; after an own close nothing is sent."""
    client = server.open(f"/ws/echo?name={name}")
    client.reset()
    server.wait_for(name, "send-after-loss")
    client = run_steps(
        server, name + "x", {"type": "websocket.close", "code": 4000}, {"type": "websocket.send", "text": "x"}
    )
    assert client.read_close().close_code == 4000
    client.send(close(4000))
    assert client.read_frames() == []


def test_endless_sender_stops_when_its_client_has_gone(server: ServerProcess, name: str) -> None:
    """Trap 41: a consumer that only sends learns from OSError that nobody listens."""
    client = server.open(f"/ws/sender?name={name}")
    server.control("open_gate", name=name)
    client.read_text()
    client.reset()
    server.wait_for(name, "send-failed")
    server.wait_for(name, "disconnect", 1006)


def test_endpoint_ends_at_detach(server: ServerProcess, name: str) -> None:
    """Trap 42: middleware's `finally` runs at detach, while the session lives on."""
    client = server.open(f"/ws/detach?name={name}")
    server.wait_for(name, "endpoint-finally")
    client.send(text("echo alive"))
    assert client.read_text() == "alive"


def test_session_may_start_tasks(server: ServerProcess, name: str) -> None:
    """Trap 44: there is no current task in received(), so a session makes tasks, and keeps them, for whatever waits."""
    client = server.open(f"/ws/detach?name={name}")
    client.send(text("task from a task") + text("context"))
    assert client.read_text() == "from a task"
    assert server.wait_for(name, "context")[2] is False
