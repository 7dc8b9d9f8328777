"""Large replies: windows, order and patience, without a socket."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from clarion.server.backlog import CHECK_S, STALL_S, WINDOW_BYTES, Backlog
from clarion.server.losses import Lost


class Transport:
    """A transport that takes what the test lets go, and pauses its producer over 64 KiB as Twisted's do."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.waiting_bytes = 0
        self.producer: Backlog | None = None

    def registerProducer(self, producer: Backlog, streaming: bool) -> None:  # noqa: N802
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:  # noqa: N802
        self.producer = None

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self.waiting_bytes += len(data)
        if self.producer is not None and self.waiting_bytes > 65536:
            self.producer.pauseProducing()

    def drain(self) -> None:
        self.waiting_bytes = 0
        if self.producer is not None:
            self.producer.resumeProducing()


class Wheel:
    """Keeps the delay that was asked for."""

    def __init__(self) -> None:
        self.now = 50.0
        self.delay_s: float | None = None

    def schedule(self, _: Backlog, delay_s: float) -> None:
        self.delay_s = delay_s

    def cancel(self, _: Backlog) -> None:
        self.delay_s = None


class Writer:
    """A connection with a backlog that has been started."""

    open = True

    def __init__(self, *pieces: bytes) -> None:
        self.transport, self.wheel, self.lost = Transport(), Wheel(), ""
        shared: Any = SimpleNamespace(wheel=self.wheel, max_large_bytes=2**40, max_queued_bytes=2**20)
        writer: Any = self
        self.backlog: Backlog | None = None
        backlog = Backlog(writer, self.transport, shared, self._done)
        self.backlog = backlog
        backlog.add_large(pieces)
        backlog.start()

    @property
    def queued_bytes(self) -> int:
        return self.transport.waiting_bytes + (self.backlog.waiting_bytes if self.backlog else 0)

    def lose(self, why: Lost) -> None:
        self.lost = why

    def _done(self) -> None:
        assert self.backlog is not None
        self.backlog.stop()
        self.backlog = None


def test_backlog_joins_small_pieces_and_cuts_large_ones() -> None:
    """Each write is one window, whatever the pieces' sizes; order and bytes stay, and later writes come last."""
    pieces = [b"a" * 100] * 5_000 + [b"", b"b" * 1_000_000, b"c"]
    writer = Writer(*pieces)
    assert writer.backlog is not None
    writer.backlog.add_later(b"later")
    assert writer.backlog.later_bytes == 5
    while writer.backlog is not None:
        writer.transport.drain()
    assert b"".join(writer.transport.written) == b"".join(pieces) + b"later"
    assert {len(data) for data in writer.transport.written[:-1]} == {WINDOW_BYTES}
    assert writer.transport.producer is None
    assert writer.wheel.delay_s is None


def test_backlog_hands_over_one_window_at_a_time() -> None:
    """What the transport has not asked for stays uncopied, and is counted as the reply's."""
    writer = Writer(b"x" * (4 * WINDOW_BYTES))
    assert writer.backlog is not None
    assert writer.transport.waiting_bytes == WINDOW_BYTES
    assert writer.backlog.large_bytes == 3 * WINDOW_BYTES
    writer.transport.drain()
    assert writer.backlog.large_bytes == 2 * WINDOW_BYTES


def test_backlog_is_patient_with_a_slow_reader() -> None:
    """Trap 49: as long as anything goes, however little, the connection stays; ten seconds without a byte end it."""
    writer = Writer(b"x" * (4 * WINDOW_BYTES))
    for _ in range(100):
        writer.wheel.now += CHECK_S
        writer.transport.waiting_bytes -= 1
        assert writer.backlog is not None
        writer.backlog.add_later(b"y" * 10)  # what is added must not hide what goes, nor stand for it
        writer.backlog.wake()
        assert not writer.lost
    for _ in range(round(STALL_S / CHECK_S)):
        assert not writer.lost
        writer.wheel.now += CHECK_S
        writer.backlog.add_later(b"y")
        writer.backlog.wake()
    assert writer.lost == Lost.REPLY_STALLED
