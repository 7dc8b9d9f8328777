"""permessage-deflate over real sockets, with websockets' own client."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import pytest
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import ClientConnection, connect

from .raw_client import Opcode, frame
from .server_process import ServerProcess

OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


def dial(server: ServerProcess, path: str, **options: object) -> ClientConnection:
    return connect(server.url(path), **{"max_size": None, "open_timeout": 20, "close_timeout": 5, **options})  # type: ignore[arg-type]


def agreed(client: ClientConnection) -> list[str]:
    return [type(extension).__name__ for extension in client.protocol.extensions]


def compressed(payload: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.fixture
def deflating(start: Callable[..., ServerProcess]) -> ServerProcess:
    return start("--deflate", "--deflate-min-bytes", "100")


def test_nothing_is_agreed_to_by_default(server: ServerProcess, name: str) -> None:
    """Off: the offer stays unanswered, no frame is compressed, and a compressed one is an error of the client's."""
    with dial(server, f"/ws/detach?name={name}") as client:
        assert agreed(client) == []
        assert "Sec-WebSocket-Extensions" not in client.response.headers  # type: ignore[union-attr]
    raw = server.open("/ws/echo", OFFER)
    raw.send(frame(Opcode.TEXT, compressed(b"x" * 500), reserved=0x40))
    assert raw.read_close().close_code == 1002


@pytest.mark.parametrize("client_takeover", [False, True])
@pytest.mark.parametrize("size", [0, 99, 100, 3_000, 900_000])
def test_consumer_speaks_compressed(deflating: ServerProcess, size: int, client_takeover: bool) -> None:
    """An ASGI application needs to know nothing of it: text and bytes, both ways, of any size."""
    factory = ClientPerMessageDeflateFactory(
        client_no_context_takeover=client_takeover or None, client_max_window_bits=True
    )  # type: ignore[arg-type]
    with dial(deflating, "/ws/echo", compression=None, extensions=[factory]) as client:
        assert agreed(client) == ["PerMessageDeflate"]
        for number in range(3):
            client.send(f"{number}" + "x" * size)
            assert client.recv() == f"{number}" + "x" * size
            client.send(b"\0" * size)
            assert client.recv() == b"\0" * size


def test_frames_on_the_wire(deflating: ServerProcess) -> None:
    """From `--deflate-min-bytes` on a message is compressed; control frames and small ones are not."""
    raw = deflating.open("/ws/echo", OFFER)
    raw.send(
        frame(Opcode.TEXT, b"small")
        + frame(Opcode.PING, b"p")
        + frame(Opcode.TEXT, compressed(b"y" * 10_000), reserved=0x40)
    )
    data = b""
    while len(data) < 7 + 3 + 4:
        data += raw.stream.recv(65_536)
    pong, small, rest = data[:3], data[3:10], data[10:]
    assert (pong, small) == (b"\x8a\x01p", b"\x81\x05small")
    assert rest[0] == 0xC1
    assert len(rest) < 100


def test_client_that_asks_for_a_small_window_goes_uncompressed(deflating: ServerProcess) -> None:
    """Its bytes could not be shared with others."""
    factory = ClientPerMessageDeflateFactory(server_max_window_bits=10)
    with dial(deflating, "/ws/echo", compression=None, extensions=[factory]) as client:
        assert agreed(client) == []
        client.send("x" * 1_000)
        assert client.recv() == "x" * 1_000


@pytest.mark.parametrize("fragments", [1, 3])
def test_bomb_is_refused_without_being_inflated(deflating: ServerProcess, name: str, fragments: int) -> None:
    """A kilobyte that inflates to a gigabyte: 1009, and never a gigabyte in the memory."""
    raw = deflating.open(f"/ws/detach?name={name}", OFFER)
    before = deflating.memory_bytes()
    bomb = compressed(bytes(1_000_000_000))
    size = len(bomb) // fragments + 1
    for number in range(fragments):
        opcode = Opcode.TEXT if number == 0 else Opcode.CONT
        part = bomb[number * size : (number + 1) * size]
        raw.send(frame(opcode, part, fin=number == fragments - 1, reserved=0x40 if number == 0 else 0))
    assert raw.read_close().close_code == 1009
    assert deflating.memory_bytes() - before < 20_000_000
    assert not [note for note in deflating.journal(name) if note[0] == "received"]


def test_many_small_bombs_leave_turns_to_others(deflating: ServerProcess, name: str) -> None:
    """A megabyte in a kilobyte, sixty times in one write: the loop turns between them."""
    bomb = frame(Opcode.TEXT, compressed(b"y" * 1_000_000), reserved=0x40)
    raw = deflating.open(f"/ws/detach?kind=count&name={name}", OFFER)
    deflating.control("count_turns")
    blocked = deflating.block(0.5)
    raw.send(bomb * 60 + frame(Opcode.TEXT, b"report"))
    assert blocked.read_head().status == 200
    _, total, most = deflating.wait_for(name, "report")
    assert total == 61
    assert most <= 8, f"{most} messages of a megabyte in one turn"


def test_corrupt_data_ends_the_connection(deflating: ServerProcess, name: str) -> None:
    """What zlib cannot read is an error of the client's: 1002."""
    raw = deflating.open(f"/ws/detach?name={name}", OFFER)
    raw.send(frame(Opcode.TEXT, b"\xff" * 50, reserved=0x40))
    assert raw.read_close().close_code == 1002


def test_agreement_costs_little(start: Callable[..., ServerProcess]) -> None:
    """No compressor, no decompressor, no window: an idle connection with deflate takes under 500 bytes more."""
    grown = []
    for options in [(), ("--deflate",)]:
        server = start(*options, env={"PYTHONTRACEMALLOC": "1"})
        for _ in range(20):
            server.open("/ws/detach?kind=silent", OFFER)
        before = server.control("traced")
        for _ in range(100):
            server.open("/ws/detach?kind=silent", OFFER)
        grown.append((server.control("traced") - before) / 100)
    assert grown[1] - grown[0] < 500, grown
