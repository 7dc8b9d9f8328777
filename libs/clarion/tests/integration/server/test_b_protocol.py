"""RFC 6455 on `ServerProtocol`: traps 14 to 21."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable

import pytest

from tests.support.waiting import wait_until

from .raw_client import Frame, Opcode, RawClient, close, frame, handshake, pour, text
from .server_process import ServerProcess

LEGAL_CODES = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}


def data_after_close(frames: list[Frame]) -> list[Frame]:
    """Frames that RFC 6455 section 5.5.1 forbids: data behind a Close."""
    at = next((index for index, found in enumerate(frames) if found.opcode == Opcode.CLOSE), len(frames))
    return [found for found in frames[at + 1 :] if found.opcode not in (Opcode.PING, Opcode.PONG)]


def wait_late(server: ServerProcess, name: str, then: str, behind: bytes) -> RawClient:
    """Send a handshake and frames in one segment, and let the application answer only after that."""
    client = server.dial()
    client.send(handshake(f"/ws/late?then={then}&name={name}") + behind)
    server.wait_for(name, "waiting")
    assert client.is_silent(), "nothing may be sent before the handshake's answer"
    server.control("open_gate", name=name)
    return client


# Frames behind the request.


@pytest.mark.parametrize("then", ["echo", "detach"])
def test_frames_behind_the_request_wait_for_the_answer(server: ServerProcess, name: str, then: str) -> None:
    """Trap 14: a ping and messages sent with the request are answered after the 101, in order."""
    behind = frame(Opcode.PING, b"early") + text("echo one") + text("echo two")
    client = wait_late(server, name, then, behind)
    assert client.read_head().status == 101
    assert client.read_frame() == Frame(Opcode.PONG, b"early")
    prefix = "" if then == "detach" else "echo "
    assert [client.read_text(), client.read_text()] == [f"{prefix}one", f"{prefix}two"]
    assert [note for note in server.journal(name) if note[0] == "received"] == [
        ["received", "echo one"],
        ["received", "echo two"],
    ]


@pytest.mark.parametrize(
    "behind", [close(1000), frame(Opcode.TEXT, b"x", masked=False), frame(Opcode.PING, b"p"), text("x")]
)
def test_reject_is_answered_whatever_lies_behind_the_request(server: ServerProcess, name: str, behind: bytes) -> None:
    """Trap 14: a rejected handshake gets its 403 though a Close or a bad frame came with it."""
    client = wait_late(server, name, "reject", behind)
    assert client.read_head().status == 403
    assert client.ending() in ("fin", "rst")


@pytest.mark.parametrize(("behind", "code"), [(close(3000), 3000), (frame(Opcode.TEXT, b"x", masked=False), 1002)])
@pytest.mark.parametrize("then", ["echo", "detach"])
def test_accept_is_answered_before_a_close_behind_the_request(
    server: ServerProcess, name: str, then: str, behind: bytes, code: int
) -> None:
    """Trap 14: 101 comes first, then the Close; the application sees its code once."""
    client = wait_late(server, name, then, behind)
    assert client.read_head().status == 101
    assert [found.close_code for found in client.read_frames()] == [code]
    event = "disconnect" if then == "echo" else "closed"
    server.wait_for(name, event, code)
    assert [note[0] for note in server.journal(name)].count(event) == 1


def test_bytes_before_the_answer_are_bounded(server: ServerProcess, name: str) -> None:
    """Trap 14: a client that pours frames into an unanswered handshake does not fill our memory."""
    client = server.dial()
    client.send(handshake(f"/ws/late?then=echo&name={name}"))
    server.wait_for(name, "waiting")
    before = server.memory_bytes()
    pour(client, frame(Opcode.BINARY, b"z" * 60_000) * 4, limit_bytes=80_000_000)
    assert server.memory_bytes() - before < 30_000_000
    server.control("open_gate", name=name)
    server.wait_for(name, "answered")


# Close, and what comes beside it.


@pytest.mark.parametrize("path", ["echo", "detach"])
def test_text_and_close_in_one_read(server: ServerProcess, name: str, path: str) -> None:
    """Trap 15: the message is delivered, the Close is echoed with its code, nothing is sent behind it or logged."""
    client = server.open(f"/ws/{path}?name={name}")
    client.send(text("echo last words") + close(3001, "done"))
    frames = client.read_frames()
    closes = [found for found in frames if found.opcode == Opcode.CLOSE]
    assert [found.close_code for found in closes] == [3001]
    assert not data_after_close(frames)
    event = "disconnect" if path == "echo" else "closed"
    server.wait_for(name, event, 3001)
    assert server.journal(name)[-1][0] in (event, "send-after-loss")
    assert ["received", "echo last words"] in server.journal(name)


@pytest.mark.parametrize("path", ["script", "detach"])
def test_nothing_is_delivered_after_our_close(server: ServerProcess, name: str, path: str) -> None:
    """Traps 16 and 17: after our Close the client's frames are dropped and its echo is not echoed again."""
    client = server.open(f"/ws/{path}?name={name}")
    if path == "detach":
        server.control("close", name=name, code=4000, reason="why")
    else:
        client.send(text('[{"type": "websocket.close", "code": 4000, "reason": "why"}]'))
    first = client.read_close()
    assert (first.close_code, first.reason) == (4000, "why")
    client.send(
        text('["raise"]')
        + text("raise")
        + frame(Opcode.PING, b"p")
        + frame(Opcode.BINARY, b"b", fin=False)
        + frame(Opcode.CONT, b"c")
        + close(4000)
    )
    rest = client.read_frames()
    assert not [found for found in rest if found.opcode not in (Opcode.PING, Opcode.PONG)], rest
    server.wait_for(name, "disconnect" if path == "script" else "closed", 4000)
    assert not [note for note in server.journal(name) if note[0] == "received"]


@pytest.mark.parametrize("path", ["script", "detach"])
@pytest.mark.parametrize(
    ("code", "reason"),
    [(1000, ""), (1001, "away"), (1011, "é" * 61), (3000, "x" * 123), (4999, ""), (4400, "naïve")],
)
def test_close_codes_and_reasons_arrive(server: ServerProcess, name: str, path: str, code: int, reason: str) -> None:
    """Every legal code arrives with its reason, up to 123 bytes of UTF-8."""
    client = server.open(f"/ws/{path}?name={name}")
    if path == "detach":
        server.control("close", name=name, code=code, reason=reason)
    else:
        client.send(text(json.dumps([{"type": "websocket.close", "code": code, "reason": reason}])))
    found = client.read_close()
    assert (found.close_code, found.reason) == (code, reason)


@pytest.mark.parametrize("path", ["script", "detach"])
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        *((code, "r") for code in (-1, 0, 999, 1004, 1005, 1006, 1015, 2000, 5000, 70_000)),
        (1000, "é" * 100),
        (4000, "x" * 124),
        (4000, "€" * 5000),
        (4000, "\ud800 lone surrogate"),
    ],
)
def test_illegal_closes_are_clamped(server: ServerProcess, name: str, path: str, code: int, reason: str) -> None:
    """Trap 18: whatever an application passes, one legal Close frame goes out; a second close is nothing."""
    client = server.open(f"/ws/{path}?name={name}")
    if path == "detach":
        server.control("close", name=name, code=code, reason=reason, times=2)
    else:
        step = {"type": "websocket.close", "code": code, "reason": reason}
        client.send(text(json.dumps([step, step])))
    found = client.read_close()
    assert found.close_code in LEGAL_CODES or 3000 <= (found.close_code or 0) <= 4999
    if 3000 <= code <= 4999 or code == 1000:
        assert found.close_code == code
    assert len(found.payload) <= 125
    assert reason.encode("utf-8", "replace").decode()[:1] == found.reason[:1] or not found.reason
    client.send(close(found.close_code))
    assert client.read_frames() == []


def test_close_without_a_code_is_normal(server: ServerProcess, name: str) -> None:
    """Trap 18: ASGI's default code is 1000, also when a reason stands alone."""
    for step in ({"type": "websocket.close"}, {"type": "websocket.close", "code": None, "reason": "bye"}):
        client = server.open(f"/ws/script?name={name}")
        client.send(text(json.dumps([step])))
        found = client.read_close()
        assert (found.close_code, found.reason) == (1000, step.get("reason") or "")


@pytest.mark.parametrize("path", ["echo", "detach"])
@pytest.mark.parametrize(
    ("ending", "code"),
    [("1000", 1000), ("3999", 3999), ("empty", 1005), ("fin", 1006), ("rst", 1006), ("too big", 1009), ("bad", 1002)],
)
def test_disconnect_tells_how_it_ended(server: ServerProcess, name: str, path: str, ending: str, code: int) -> None:
    """Trap 19: the code is the peer's, 1005 without one, 1006 for a lost connection, ours when we closed."""
    client = server.open(f"/ws/{path}?name={name}")
    match ending:
        case "empty":
            client.send(close(None))
        case "fin":
            client.half_close()
        case "rst":
            client.reset()
        case "too big":
            client.send(frame(Opcode.TEXT, b"x" * 1_100_000)[:100])
        case "bad":
            client.send(frame(3, b"reserved opcode"))
        case _:
            client.send(close(int(ending), "so long"))
    if ending != "rst":
        client.ending()
        client.close()
    event = "disconnect" if path == "echo" else "closed"
    note = server.wait_for(name, event)
    assert note[1] == code
    if path == "echo" and ending.isdigit():
        assert note[2] == "so long"
    assert [found[0] for found in server.journal(name)].count(event) == 1


# Messages.


def test_fragments_are_joined(server: ServerProcess, name: str) -> None:
    """Trap 20: fragments make one message, with control frames in between and UTF-8 cut anywhere."""
    client = server.open(f"/ws/echo?name={name}")
    whole = "größe €".encode()
    client.send(frame(Opcode.TEXT, whole[:3], fin=False) + frame(Opcode.CONT, b"", fin=False))
    client.send(frame(Opcode.PING, b"between"))
    client.send(frame(Opcode.CONT, whole[3:9], fin=False) + frame(Opcode.CONT, whole[9:]))
    assert client.read_frame() == Frame(Opcode.PONG, b"between")
    assert client.read_frame() == Frame(Opcode.TEXT, whole)
    client.send(frame(Opcode.BINARY, b"\xff", fin=False) + frame(Opcode.CONT, b"\xfe"))
    assert client.read_frame() == Frame(Opcode.BINARY, b"\xff\xfe")


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.BINARY])
@pytest.mark.parametrize("path", ["echo", "detach"])
def test_empty_messages_are_messages(server: ServerProcess, name: str, path: str, opcode: Opcode) -> None:
    """An empty text or binary message is delivered, and sent back, as one."""
    client = server.open(f"/ws/{path}?name={name}")
    client.send(frame(opcode))
    note = server.wait_for(name, "received")
    assert note[1] == ("" if opcode == Opcode.TEXT else {"bytes": ""})
    if path == "echo":
        assert client.read_frame() == Frame(opcode, b"")


@pytest.mark.parametrize("path", ["echo", "detach"])
@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(text(b"\xff\xfe"), 1007, id="text that is not UTF-8"),
        pytest.param(text(b"\xe2\x82"), 1007, id="UTF-8 cut short"),
        pytest.param(frame(1, b"\xc3", fin=False) + frame(0, b"\x28"), 1007, id="bad UTF-8 over fragments"),
        pytest.param(text(b"\xed\xa0\x80"), 1007, id="a surrogate"),
        pytest.param(frame(Opcode.CONT, b"x"), 1002, id="a continuation of nothing"),
        pytest.param(frame(1, b"a", fin=False) + text("b"), 1002, id="a message inside a message"),
        pytest.param(frame(Opcode.TEXT, b"x", reserved=0x40), 1002, id="RSV1 without an extension"),
        pytest.param(frame(11, b"x"), 1002, id="a reserved control opcode"),
        pytest.param(frame(Opcode.PING, b"x" * 126), 1002, id="a long ping"),
        pytest.param(frame(Opcode.PING, b"x", fin=False), 1002, id="a fragmented ping"),
        pytest.param(frame(Opcode.CLOSE, b"\x03"), 1002, id="half a close code"),
        pytest.param(frame(Opcode.CLOSE, struct.pack("!H", 1005)), 1002, id="a code that is never sent"),
        pytest.param(frame(Opcode.CLOSE, struct.pack("!H", 1000) + b"\xff"), 1007, id="a reason that is not UTF-8"),
    ],
)
def test_broken_frames_get_their_code(server: ServerProcess, name: str, path: str, sent: bytes, code: int) -> None:
    """Trap 20: RFC 6455 sections 5 and 8.1; 1002 for the framing, 1007 for text that is not UTF-8."""
    client = server.open(f"/ws/{path}?name={name}")
    client.send(sent)
    allowed = {code, 1002} if sent[0] == 0x88 else {code}  # a bad reason: the RFC lets both stand
    assert {found.close_code for found in client.read_frames()} <= allowed
    server.wait_for(name, "disconnect" if path == "echo" else "closed")
    assert not [note for note in server.journal(name) if note[0] == "received"]


def test_message_limit_holds_over_fragments(start: Callable[..., ServerProcess], name: str) -> None:
    """Trap 20: the limit counts a whole message; exactly the limit passes, one byte more gets 1009."""
    server = start("--websocket-max-message-size", "1000")
    client = server.open(f"/ws/echo?name={name}")
    client.send(text("x" * 1000) + frame(1, b"y" * 500, fin=False) + frame(0, b"y" * 500))
    assert [client.read_text(), client.read_text()] == ["x" * 1000, "y" * 500 * 2]
    client.send(frame(1, b"z" * 500, fin=False) + frame(0, b"z" * 501))
    assert client.read_close().close_code == 1009
    server.wait_for(name, "disconnect", 1009)
    other = server.open(f"/ws/detach?name={name}2")
    other.send(text("x" * 1001))
    assert other.read_close().close_code == 1009


def test_empty_fragments_are_capped(server: ServerProcess, name: str) -> None:
    """Trap 20: a message in endless empty fragments is refused, though its size is 0."""
    client = server.open(f"/ws/detach?name={name}")
    client.send(frame(Opcode.TEXT, b"", fin=False))
    sent = pour(client, frame(Opcode.CONT, b"", fin=False) * 1000, limit_bytes=600_000)
    assert sent <= 600_000
    assert client.read_close().close_code in (1002, 1008, 1009)
    server.wait_for(name, "closed")


# Floods.


def test_pongs_count_against_the_limit(server: ServerProcess, name: str) -> None:
    """Trap 21: a client that pings and never reads cannot make us queue its pongs without end."""
    client = server.dial(receive_buffer=4096).open(f"/ws/detach?name={name}")
    before = server.memory_bytes()
    sent = pour(client, frame(Opcode.PING, b"p" * 125) * 2000, limit_bytes=40_000_000)
    assert server.memory_bytes() - before < 12_000_000
    if sent < 40_000_000:
        server.wait_for(name, "closed", 1013)
    else:
        assert server.control("inspect", name=name)["queued_bytes"] <= 1_100_000


def test_flood_of_pings_is_ended(start: Callable[..., ServerProcess], name: str) -> None:
    """No session sees pings, so the server itself ends who sends them without end, though it reads the pongs: 1008."""
    server = start()
    client = server.open(f"/ws/detach?name={name}")
    before, pongs = server.memory_bytes(), 0
    for _ in range(200):
        client.send(frame(Opcode.PING, b"p" * 100) * 100)
        answers = [client.read_frame() for _ in range(100)]
        pongs += 100
        if any(answer is not None and answer.opcode == Opcode.CLOSE for answer in answers):
            break
    assert [answer.close_code for answer in answers if answer and answer.opcode == Opcode.CLOSE] == [1008]
    assert 10_000 <= pongs <= 10_300
    server.wait_for(name, "closed", 1008)
    assert server.control("losses") == {"flood": 1}
    assert server.memory_bytes() - before < 5_000_000


def test_flood_of_pongs_is_ended(start: Callable[..., ServerProcess], name: str) -> None:
    """Pongs that nobody asked for, too."""
    server = start()
    client = server.open(f"/ws/detach?name={name}")
    pour(client, frame(Opcode.PONG, b"p" * 100) * 100, limit_bytes=3_000_000)
    server.wait_for(name, "closed", 1008)


@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.PING])
def test_flood_of_small_frames_leaves_turns_to_others(
    start: Callable[..., ServerProcess], name: str, opcode: Opcode
) -> None:
    """Trap 21: one read of ten thousand small frames is spread over turns of the event loop."""
    server = start()
    client = server.open(f"/ws/detach?name={name}")
    server.control("count_turns")
    blocked = server.block(0.5)
    client.send(text("turn") + frame(opcode) * 9_000 + text("turn"))
    assert blocked.read_head().status == 200
    wait_until(lambda: [note[0] for note in server.journal(name)].count("turn") == 2)
    first, last = (note[1] for note in server.journal(name) if note[0] == "turn")
    assert last - first >= 5, f"9,000 frames were handled within {last - first} turns"
    if opcode == Opcode.PING:
        assert [client.read_frame() for _ in range(9_000)] == [Frame(Opcode.PONG, b"")] * 9_000
