"""What the benchmark tells a generator process to do, and what it answers: plain data that is pickled between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

ClientKind: TypeAlias = Literal["count", "echo", "ask", "talk", "stream"]


@dataclass(frozen=True)
class Step:
    """Send a text, and wait for its answer.

    Attributes:
        text: b"": only wait.
        expects: what the answer starts with; any other one is a fault.
        counts: what the answer must hold, and how often.
        is_split: it may come in several frames, each of which starts as expected.
    """

    text: bytes
    expects: bytes
    counts: tuple[bytes, int] | None = None
    is_split: bool = False


@dataclass(frozen=True)
class Dialogue:
    """What a client says once its handshake is done, step by step, before it counts as connected.

    Attributes:
        ping, pong: a text of the server that is no answer, at any time, and what is said to it.
    """

    steps: tuple[Step, ...]
    ping: bytes = b""
    pong: bytes = b""


@dataclass(frozen=True)
class Connect:
    """Open one WebSocket per request; answered by :class:`Connected` when each was accepted or refused.

    Attributes:
        requests: the bytes of each client's handshake.
        in_flight: handshakes under way at a time; 0: all at once.
        timed_every: every n-th client parses each frame (order, latency), the others count; 0: none does.
        dialogues: of each client, in the order of the requests; for the kinds "talk" and "stream".
        joint: how publications are joined in one frame (``Client``); None: each has one of its own.
        is_mute: only connect; the handshakes are sent by :class:`Greet`.
    """

    port: int
    requests: list[bytes]
    in_flight: int = 0
    deadline_s: float = 30.0
    timed_every: int = 0
    kind: ClientKind = "count"
    dialogues: list[Dialogue] = field(default_factory=list)
    joint: int | None = None
    is_mute: bool = False


@dataclass(frozen=True)
class Greet:
    """Send the handshakes of clients that were connected mute; answered by :class:`Connected`."""

    deadline_s: float
    in_flight: int = 0


@dataclass
class Connected:
    """How many were accepted, and why the others were not (cause → how many).

    Attributes:
        wall_s: from the first connection's start until each was accepted or refused.
        answers_ns: of each client that talks, the time from its last step's text to the end of its answer.
    """

    accepted: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    wall_s: float = 0.0
    answers_ns: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Talk:
    """Have each client that talks go through more steps; answered by :class:`Connected`.

    Attributes:
        in_flight: clients that talk at a time; 0: all at once.
    """

    dialogues: list[Dialogue]
    deadline_s: float
    in_flight: int = 0


@dataclass(frozen=True)
class Expect:
    """Forget what was counted, and expect publications at the clients that are there; answered by None at once.

    Attributes:
        each: so many at each client.
        by_client: instead, so many at each of them in the order in which they were connected.
    """

    each: int
    by_client: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Collect:
    """Wait for what is expected, at most ``deadline_s``; answered by :class:`Received`."""

    deadline_s: float


@dataclass
class Received:
    """What arrived since :class:`Expect`.

    Attributes:
        frames: publications, whatever they came in.
        skipped: numbers that were missing at timed clients though a later one came.
        done_ns: ``time.monotonic_ns`` of the last expected frame; if some are missing, of the last one that came.
        latencies_ns: of each frame at the timed clients, from the publish to the read of the generator.
        lost: connections that ended meanwhile.
        faults: what must not be: a frame out of order or twice, half a frame, an unknown opcode.
    """

    frames: int = 0
    expected: int = 0
    done_ns: int = 0
    latencies_ns: list[int] = field(default_factory=list)
    lost: int = 0
    skipped: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Echo:
    """Send ``text`` from each echo client and again whenever it came back; answered by :class:`Echoed`."""

    text: bytes
    duration_s: float


@dataclass
class Echoed:
    """Round trips of all clients within ``wall_s``."""

    round_trips: int = 0
    wall_s: float = 0.0


@dataclass(frozen=True)
class Ask:
    """Send ``text`` from ask clients and take the time until the next frame comes; answered by :class:`Asked`.

    Attributes:
        rate_hz: of each client that asks; 0: again whenever its answer is there.
        askers: how many clients of each process ask, the others listen; 0: all.
        once: each asks only at the start.
    """

    text: bytes
    duration_s: float
    rate_hz: float = 0.0
    askers: int = 0
    once: bool = False


@dataclass
class Asked:
    """What came within ``wall_s``: frames of all clients, and the time of each answer, in the order in which they came.

    Attributes:
        unanswered: clients whose last question was still open at the end.
    """

    frames: int = 0
    wall_s: float = 0.0
    latencies_ns: list[int] = field(default_factory=list)
    unanswered: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Post:
    """Repeat one HTTP request per keep-alive connection, one at a time on each; answered by :class:`Posted`."""

    port: int
    requests: list[bytes]
    duration_s: float


@dataclass
class Posted:
    """Answers within ``wall_s`` by status; 0 counts connections that the server closed."""

    statuses: dict[int, int] = field(default_factory=dict)
    wall_s: float = 0.0


@dataclass(frozen=True)
class CloseAll:
    """Drop every connection; answered by None."""


@dataclass(frozen=True)
class Stop:
    """End the process; not answered."""


Order: TypeAlias = Connect | Greet | Expect | Collect | Echo | Ask | Talk | Post | CloseAll | Stop
