"""The load generator against a small server that says what it sent: a benchmark is worth what its counting is."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from tests.load.generator.clients import ACCEPT, NUMBER, TIME, client_frame
from tests.load.generator.fleet import Fleet, fleet
from tests.load.generator.orders import Ask, ClientKind, Connect, Connected, Dialogue, Echo, Greet, Post, Step, Talk
from tests.load.processes import cpu_s
from tests.load.stage import handshake
from tests.support.waiting import wait_until

CLIENTS = 20
SWITCH = (
    f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {ACCEPT.decode()}\r\n\r\n"
).encode()


@pytest.fixture(scope="module")
def load() -> Iterator[Fleet]:
    """Two generator processes, so that dealing out and adding up is tested, too."""
    with fleet(frozenset(os.sched_getaffinity(0)), processes=2) as processes:
        yield processes


@pytest.fixture(autouse=True)
def _closed(load: Fleet) -> Iterator[None]:
    yield
    load.close_all()


class KnownServer:
    """Accepts WebSockets, or answers what it is told, and writes given bytes to all of them."""

    def __init__(self, answer: bytes = SWITCH) -> None:
        self.port = 0
        self._answer = answer
        self._writers: list[asyncio.StreamWriter] = []
        self._loop = asyncio.new_event_loop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self._answer)
        while data := await reader.read(65536):
            while data[:1] == b"\x81":  # small masked text frames: send them back unmasked
                end = 6 + (data[1] & 0x7F)
                mask, payload, data = data[2:6], data[6:end], data[end:]
                text = bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))
                if text != b"pong":
                    writer.write(bytes([0x81, len(text)]) + text)

    def write(self, chunks: Sequence[bytes]) -> None:
        """Write to each client, each chunk on its own; return when all was handed to the kernel."""
        asyncio.run_coroutine_threadsafe(self._write(chunks), self._loop).result(10)

    async def _write(self, chunks: Sequence[bytes]) -> None:
        for chunk in chunks:
            for writer in self._writers:
                writer.write(chunk)
                await writer.drain()
            await asyncio.sleep(0.002)  # else the kernel joins the chunks; what is proved does not depend on it

    @contextmanager
    def running(self) -> Iterator[KnownServer]:
        """Serve on a thread of its own."""
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=256))
        self.port = server.sockets[0].getsockname()[1]
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._close(server), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(10)
            self._loop.close()

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        await asyncio.sleep(0)  # a connection that was just accepted gets its writer
        for writer in self._writers:
            writer.transport.abort()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.gather(*tasks, return_exceptions=True)


def frame(number: int, padding: int = 100) -> bytes:
    """A publication's frame as a server sends it."""
    data = {NUMBER: number, TIME: f"{time.monotonic_ns():019d}", "p": "x" * padding}
    payload = json.dumps(data).encode()
    return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload


def connect(load: Fleet, server: KnownServer, *, timed_every: int = 0, kind: ClientKind = "count") -> Connected:
    """Connect ``CLIENTS`` clients."""
    requests = [handshake("bench:test", f"user-{index}") for index in range(CLIENTS)]
    return load.connect(Connect(server.port, requests, deadline_s=10, timed_every=timed_every, kind=kind))


def arrived(load: Fleet, frames: int) -> int:
    """Wait until so many frames are there though more are expected; return how many there are a moment later."""
    wait_until(lambda: load.collect(0.05).frames >= frames, what=f"{frames} frames arrive")
    return load.collect(0.1).frames


@pytest.mark.parametrize("timed_every", [0, 2])
@pytest.mark.parametrize("size", [1, 3, 150, 4_096, 1_000_000])
def test_generator_counts_every_frame_however_it_is_cut(load: Fleet, timed_every: int, size: int) -> None:
    """Frames are counted when their last byte is there: reads end in headers and payloads, or hold hundreds of them."""
    count = 400 if size > 100 else 3
    stream = b"".join(frame(100_001 + number) for number in range(count))
    chunks = [stream[at : at + size] for at in range(0, len(stream) - 5, size)]
    chunks[-1] = stream[(len(chunks) - 1) * size : -5]
    with KnownServer().running() as server:
        assert connect(load, server, timed_every=timed_every).accepted == CLIENTS
        load.expect(1)  # from the first frame a client learns the size of all
        server.write([frame(100_000)])
        assert load.collect(10).frames == CLIENTS
        load.expect(count)
        server.write(chunks)
        assert arrived(load, (count - 1) * CLIENTS) == (count - 1) * CLIENTS
        server.write([stream[-5:]])
        received = load.collect(10)
        assert (received.frames, received.faults, received.lost) == (count * CLIENTS, [], 0)
        load.close_all()


def test_generator_counts_on_after_pings_in_between(load: Fleet) -> None:
    """A ping, whole or cut, in front of, between or behind text frames is not counted and hides none."""
    ping = b"\x89\x04\x81\x81\x89\x88"  # its payload looks like the first bytes of frames
    numbers = iter(range(100_000, 200_000))

    def text(count: int) -> bytes:
        return b"".join(frame(next(numbers)) for _ in range(count))

    chunks = [text(1), text(3), ping + text(2), text(2) + ping, text(1) + ping + text(1), ping[:1], ping[1:], text(5)]
    cut = text(2)
    chunks += [cut[:-7], cut[-7:] + ping + text(1), b"\x89", b"\x00" + text(1)]
    with KnownServer().running() as server:
        connect(load, server, timed_every=4)
        load.expect(19)
        server.write(chunks)
        received = load.collect(10)
        assert (received.frames, received.faults) == (19 * CLIENTS, [])
        load.close_all()


def test_generator_reports_what_is_missing_twice_or_closed(load: Fleet) -> None:
    """Too few frames end at the deadline; a publication that comes twice and a close by the server are faults."""
    with KnownServer().running() as server:
        connect(load, server, timed_every=1)
        load.expect(4)
        server.write([frame(100_000), frame(100_001), frame(100_001)])
        server.write([b"\x88\x02\x03\xf4"])
        assert arrived(load, 3 * CLIENTS) == 3 * CLIENTS
        received = load.collect(0.1)
        assert received.expected == 4 * CLIENTS
        assert any("100001 came after 100001" in fault for fault in received.faults)
        assert any("closed with 1012" in fault for fault in received.faults)
        load.close_all()


def test_generator_takes_latency_from_publish_to_read(load: Fleet) -> None:
    """The time in a publication counts: one that is 80 ms old when it is sent has at least 80 ms."""
    with KnownServer().running() as server:
        connect(load, server, timed_every=1)
        load.expect(1)
        old = frame(100_000)
        time.sleep(0.08)
        server.write([old])
        latencies = load.collect(10).latencies_ns
        assert len(latencies) == CLIENTS
        assert 80e6 <= min(latencies) <= max(latencies) < 5e9
        load.close_all()


def test_generator_counts_refused_clients_by_cause(load: Fleet) -> None:
    """A client that got no 101 is refused, with the status line, also when nothing listens."""
    with KnownServer(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").running() as server:
        answer = connect(load, server)
        assert (answer.accepted, answer.refused) == (0, {"HTTP/1.1 503 Service Unavailable": CLIENTS})
    assert connect(load, server).refused == {"ConnectionRefusedError": CLIENTS}


def test_generator_echo_counts_round_trips(load: Fleet) -> None:
    """Each echo client has one frame under way, and every one that comes back counts."""
    with KnownServer().running() as server:
        connect(load, server, kind="echo")
        echoed = load.echo(Echo(b'{"text":"hello"}', 0.5))
        assert echoed.round_trips > CLIENTS
        assert 0.4 < echoed.wall_s < 5
        load.close_all()


@pytest.mark.parametrize("rate_hz", [0.0, 20.0])
def test_generator_ask_takes_the_time_of_each_answer(load: Fleet, rate_hz: float) -> None:
    """Every answer has a time, also behind a greeting of another size; a rate bounds how often each client asks."""
    greeting = b"\x81\x11" + b'{"node":"node-1"}'
    with KnownServer(SWITCH + greeting).running() as server:
        connect(load, server, kind="ask")
        asked = load.ask(Ask(b'{"msg":"hello"}', 0.5, rate_hz))
        assert asked.frames == len(asked.latencies_ns) > CLIENTS
        assert 0 < min(asked.latencies_ns) < max(asked.latencies_ns) < 5e9
        assert asked.faults == []
        assert not rate_hz or asked.frames <= rate_hz * 0.5 * CLIENTS
        load.close_all()


def talk(load: Fleet, server: KnownServer, *steps: Step, ping: bytes = b"") -> Connected:
    """Connect ``CLIENTS`` clients that go through steps; the server answers each text with itself."""
    said = [Dialogue(steps, ping=ping, pong=b"pong")] * CLIENTS
    requests = [handshake("bench:test", "user")] * CLIENTS
    return load.connect(Connect(server.port, requests, deadline_s=10, kind="talk", dialogues=said))


def test_generator_talks_step_by_step_before_a_client_counts_as_connected(load: Fleet) -> None:
    """Each step after the answer to the last; a ping in between is answered; what comes afterwards counts as frames."""
    greeting = b"\x81\x02{}" + b"\x81\x04open"
    steps = (Step(b"", b"open"), Step(b"one", b"on", (b"e", 1)), Step(b"two", b"two"))
    with KnownServer(SWITCH + greeting).running() as server:
        connected = talk(load, server, *steps, ping=b"{}")
        assert (connected.accepted, connected.refused) == (CLIENTS, {})
        assert 0 < min(connected.answers_ns) <= max(connected.answers_ns) < connected.wall_s * 1e9
        assert len(connected.answers_ns) == CLIENTS
        more = load.talk(Talk([Dialogue((Step(b"three", b"three"),))] * CLIENTS, 10, in_flight=3))
        assert (more.accepted, len(more.answers_ns)) == (CLIENTS, CLIENTS)
        load.expect(2)
        server.write([frame(1), frame(2)])
        assert load.collect(10).frames == 2 * CLIENTS
        load.close_all()


@pytest.mark.parametrize(
    ("step", "cause"),
    [
        (Step(b"hello", b"hullo"), "b'hello' was answered by b'hello'"),
        (Step(b'{"error":{}}', b"{"), """b'{"error":{}}' was answered by b'{"error":{}}'"""),
        (Step(b"hello", b"h", (b"l", 3)), "2 x b'l', not 3"),
        (Step(b"hello", b"h", (b"l", 1), is_split=True), "2 x b'l', not 1"),
    ],
)
def test_generator_refuses_who_gets_another_answer(load: Fleet, step: Step, cause: str) -> None:
    """Another one than the step expects, an error, or one that holds too little or too much."""
    with KnownServer().running() as server:
        connected = talk(load, server, step)
        assert (connected.accepted, connected.refused) == (0, {cause: CLIENTS})


def test_generator_waits_for_all_parts_of_an_answer(load: Fleet) -> None:
    """A split answer is there with its last part, each of which starts as expected."""
    greeting = b"\x81\x03a,b" + b"\x81\x02ac" + b"\x81\x03ab,"
    with KnownServer(SWITCH + greeting).running() as server:
        assert talk(load, server, Step(b"", b"a", (b",", 2), is_split=True)).accepted == CLIENTS
        load.close_all()


def test_generator_refuses_who_is_cut_in_its_dialogue(load: Fleet) -> None:
    """A client whose answer never comes because the server hangs up."""
    server = KnownServer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        await reader.read(65536)
        writer.close()

    server._serve = serve  # type: ignore[method-assign]
    with server.running():
        connected = talk(load, server, Step(b"hello", b"hello"))
        assert connected.refused == {"cut before the answer to b'hello'": CLIENTS}


@pytest.mark.parametrize("size", [0, 1, 125, 126, 3_000, 65_535])
def test_generator_masks_frames_of_any_size(size: int) -> None:
    """As RFC 6455 says: the length in one or in two more bytes, each fourth byte masked by the same one."""
    payload = os.urandom(size)
    raw = client_frame(payload)
    start = 2 if size < 126 else 4
    assert raw[1] == 0x80 | (size if size < 126 else 126)
    assert size < 126 or int.from_bytes(raw[2:4], "big") == size
    mask, masked = raw[start : start + 4], raw[start + 4 :]
    assert bytes(byte ^ mask[index & 3] for index, byte in enumerate(masked)) == payload


def test_generator_ask_once_asks_once(load: Fleet) -> None:
    """The time of the first answer is taken; none is asked for again."""
    with KnownServer().running() as server:
        connect(load, server, kind="ask")
        asked = load.ask(Ask(b'{"msg":"hello"}', 0.3, once=True))
        assert (asked.frames, len(asked.latencies_ns), asked.unanswered) == (CLIENTS, CLIENTS, 0)
        load.close_all()


def test_generator_ask_counts_who_got_no_answer(load: Fleet) -> None:
    """One client of each process asks a server that is deaf: no time is taken, and the open questions are told."""
    server = KnownServer()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server._writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        while await reader.read(65536):
            pass

    server._serve = serve  # type: ignore[method-assign]
    with server.running():
        connect(load, server, kind="ask")
        asked = load.ask(Ask(b'{"msg":"hello"}', 0.2, askers=1))
        assert (asked.frames, asked.latencies_ns, asked.unanswered) == (0, [], len(load.pids))
        load.close_all()


def test_generator_post_counts_answers_by_status(load: Fleet) -> None:
    """One request at a time on each keep-alive connection; statuses are told apart."""
    statuses: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            status = 503 if len(statuses) % 10 == 9 else 202
            statuses.append(status)
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: 4\r\n\r\n" % status)
            await asyncio.sleep(0)
            writer.write(b"done")

    server = KnownServer()
    server._serve = serve  # type: ignore[method-assign]
    with server.running():
        request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        posted = load.post(Post(server.port, [request] * 4, 0.5))
        assert set(posted.statuses) == {202, 503}
        assert len(statuses) - 8 <= sum(posted.statuses.values()) <= len(statuses)


def test_generator_cpu_is_read_of_other_processes(load: Fleet) -> None:
    """Its own CPU time is known from outside, in steps far below a millisecond."""
    before = cpu_s(load.pids)
    load.expect(0)
    assert 0 < cpu_s(load.pids) - before < 1


def published(number: int) -> bytes:
    """A publication's data as a server sends it."""
    return f'{{"n":{number},"t":"{time.monotonic_ns():019d}","p":"{"x" * 98}"}}'.encode()


def wire(payload: bytes) -> bytes:
    """One text frame."""
    size = len(payload)
    if size < 126:
        return bytes([0x81, size]) + payload
    return (b"\x81\x7e" + size.to_bytes(2, "big") if size < 65_536 else b"\x81\x7f" + size.to_bytes(8, "big")) + payload


def chunk(payload: bytes) -> bytes:
    """One chunk of an HTTP response."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def socketio(numbers: Sequence[int]) -> bytes:
    """Socket.IO: a frame each."""
    return b"".join(wire(b'42["message",' + published(number) + b"]") for number in numbers)


def pushes(numbers: Sequence[int]) -> list[bytes]:
    """The client protocol's replies."""
    return [b'{"push":{"channel":"bench:room","pub":{"data":' + published(number) + b"}}}" for number in numbers]


def protocol(numbers: Sequence[int]) -> bytes:
    """The client protocol over WebSocket: lines in one frame."""
    return wire(b"\n".join(pushes(numbers)))


def http_stream(numbers: Sequence[int]) -> bytes:
    """The client protocol as an HTTP stream: lines in one chunk."""
    return chunk(b"".join(push + b"\n" for push in pushes(numbers)))


def sse(numbers: Sequence[int]) -> bytes:
    """The client protocol as server-sent events: one event in one chunk."""
    return chunk(b"".join(b"data: " + push + b"\n" for push in pushes(numbers)) + b"\n")


STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WAYS = {
    "socketio": (socketio, SWITCH + wire(b'0{"sid":"x"}'), b"0{", wire(b"2"), b"2", None),
    "protocol": (protocol, SWITCH + wire(b'{"id":1}'), b'{"id"', wire(b"{}"), b"{}", 1),
    "http-stream": (http_stream, STREAM + chunk(b'{"id":1}\n'), b'{"id"', chunk(b"{}\n"), b"{}\n", 0),
    "sse": (sse, STREAM + chunk(b'data: {"id":1}\n\n'), b'data: {"id"', chunk(b"data: {}\n\n"), b"data: {}\n\n", -1),
}


@pytest.mark.parametrize("timed_every", [0, 2])
@pytest.mark.parametrize("size", [3, 150, 4_096, 1_000_000])
@pytest.mark.parametrize("way", WAYS)
def test_generator_counts_publications_however_they_are_joined(
    load: Fleet, way: str, size: int, timed_every: int
) -> None:
    """Socket.IO's frames, lines in a frame or a chunk, events: one or many together, pings between, cut anywhere."""
    write, greeting, expects, ping, ping_text, joint = WAYS[way]
    numbers = iter(range(100_000, 200_000))
    groups = (1, 1, 2, 7, 1, 400 if size > 1_000 else 3, 1)
    stream = b"".join(write([next(numbers) for _ in range(count)]) + ping for count in groups)
    stream += write([next(numbers)])
    with KnownServer(greeting).running() as server:
        dialogue = Dialogue((Step(b"", expects),), ping=ping_text, pong=b"pong")
        order = Connect(
            server.port,
            [handshake("bench:test", "user")] * CLIENTS,
            deadline_s=10,
            timed_every=timed_every,
            kind="stream" if way in {"http-stream", "sse"} else "talk",
            dialogues=[dialogue] * CLIENTS,
            joint=joint,
        )
        assert load.connect(order).accepted == CLIENTS
        total = sum(groups) + 1
        load.expect(total)
        chunks = [stream[at : at + size] for at in range(0, len(stream) - 5, size)]
        chunks[-1] = stream[(len(chunks) - 1) * size : -5]
        server.write(chunks)
        assert arrived(load, (total - 1) * CLIENTS) == (total - 1) * CLIENTS
        server.write([stream[-5:]])
        received = load.collect(10)
        assert (received.frames, received.faults, received.lost) == (total * CLIENTS, [], 0)


def test_generator_tells_a_gap_from_a_frame_that_came_twice(load: Fleet) -> None:
    """Numbers that are missing before a later one are counted as skipped: some servers drop, which is no fault here."""
    with KnownServer().running() as server:
        connect(load, server, timed_every=1)
        load.expect(2)
        server.write([frame(100_000), frame(100_004)])
        received = load.collect(10)
        assert (received.frames, received.skipped, received.faults) == (2 * CLIENTS, 3 * CLIENTS, [])


def test_generator_expects_of_each_client_what_it_was_sent(load: Fleet) -> None:
    """Where each client has its own channel the sum alone would hide who got another's."""
    with KnownServer().running() as server:
        connect(load, server)
        load.expect_by_client([2] * (CLIENTS - 1) + [1])
        server.write([frame(100_000), frame(100_001)])
        received = load.collect(10)
        assert received.expected == 2 * CLIENTS - 1
        assert received.faults == ["1 clients did not receive what was sent to them"]


def test_generator_knows_when_the_last_frame_came_though_more_are_expected(load: Fleet) -> None:
    """A server that drops is measured until its last frame, not until the deadline."""
    with KnownServer().running() as server:
        connect(load, server)
        load.expect(2)
        server.write([frame(100_000)])
        arrived(load, CLIENTS)
        before = time.monotonic_ns()
        assert load.collect(0.5).done_ns <= before


def test_generator_sends_handshakes_of_mute_clients_when_told(load: Fleet) -> None:
    """Connected without a word at first: a server's bare connections; then accepted as all are."""
    with KnownServer().running() as server:
        requests = [handshake("bench:test", "user")] * CLIENTS
        assert load.connect(Connect(server.port, requests, deadline_s=10, is_mute=True)).accepted == CLIENTS
        load.expect(1)
        assert load.collect(0).expected == 0
        assert load.greet(Greet(10, in_flight=3)).accepted == CLIENTS
        load.expect(1)
        server.write([frame(100_000)])
        assert load.collect(10).frames == CLIENTS


def test_generator_takes_no_ping_for_a_publication(load: Fleet) -> None:
    """A ping of Engine.IO is a text frame: alone in a read, or behind publications, it begins as they do."""
    write, greeting, expects, ping, ping_text, _ = WAYS["socketio"]
    with KnownServer(greeting).running() as server:
        said = [Dialogue((Step(b"", expects),), ping=ping_text, pong=b"pong")] * CLIENTS
        requests = [handshake("bench:test", "user")] * CLIENTS
        load.connect(Connect(server.port, requests, deadline_s=10, kind="talk", dialogues=said))
        load.expect(9)
        first, second = write(range(100_000, 100_002)), write(range(100_002, 100_005))
        server.write([first, ping, second + ping, ping[:1], ping[1:], first + ping[:2], ping[2:] + first])
        received = load.collect(10)
        assert (received.frames, received.faults) == (9 * CLIENTS, [])
        assert load.collect(0.05).frames == 9 * CLIENTS
