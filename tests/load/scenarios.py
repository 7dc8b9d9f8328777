"""What is measured, with which numbers, and what it must show: data, so that a new row is an entry here.

Source of the targets: README.md, "Speed".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal[
    "connect",
    "parts",
    "burst",
    "steady",
    "own",
    "sizes",
    "rates",
    "reach",
    "gateways",
    "echo",
    "publish",
    "cost",
    "subscriptions",
    "recover",
    "reconnect",
]

ROOMS: Final = ("clarion", "stock", "stock-on-clarion")
CONSUMERS: Final = ("stock", "stock-on-clarion")


@dataclass(frozen=True)
class Scenario:
    """One measurement of some subjects, each on a fresh server.

    Attributes:
        kind: which function of ``measurements`` does it.
        clients: WebSockets, or HTTP connections.
        in_flight: handshakes at a time; 0: all at once.
        channel_members: clients of one channel.
        messages: of one burst; or that each client has missed.
        rate_hz: publications a second to the one channel.
        duration_s: how long there is load.
        deadline_s: after it what is under load is cut, and what arrived so far counts.
        connect_s: after it clients that are still connecting are refused.
        timed_every: every so manieth client parses all it gets.
        namespace: of the channels (``clarion.toml`` here).
        more: subscriptions that each connection gets in addition to its one.
        is_shared: these are of the same channels for all connections; else each is of a channel of its own.
        steps: room sizes, or publications a second, or numbers of gateways, one after the other.
        is_once: measured in the first run only.
        settle_s: how long connections are left idle before their memory is read.
    """

    name: str
    title: str
    kind: Kind
    subjects: tuple[str, ...]
    clients: int
    in_flight: int = 64
    channel_members: int = 1_000_000
    messages: int = 0
    rate_hz: float = 0.0
    duration_s: float = 0.0
    deadline_s: float = 60.0
    connect_s: float = 60.0
    timed_every: int = 0
    namespace: str = "bench"
    more: int = 0
    is_shared: bool = True
    steps: tuple[int, ...] = ()
    is_once: bool = False
    settle_s: float = 2.0


@dataclass(frozen=True)
class Target:
    """What one figure of a subject must be: a number, or a share of another subject's figure in the same run.

    Attributes:
        over: the subject that it is compared with; "" compares with the number itself.
        at_least, at_most: one of them; with ``over`` a factor.
        over_in: the scenario of that subject's figure; "": the same one.
        or_over: another scenario with that figure: the lower one of the two counts. A server that loses clients in a
            storm spends its time on them, and its CPU per client that is left would flatter us.
    """

    scenario: str
    figure: str
    subject: str
    over: str = ""
    at_least: float | None = None
    at_most: float | None = None
    or_over: str = ""
    over_in: str = ""


@dataclass(frozen=True)
class Plan:
    """A whole benchmark: every scenario ``runs`` times, the subjects in turn, within ``budget_s``."""

    name: str
    runs: int
    budget_s: float
    scenarios: tuple[Scenario, ...]


PUBLISH: Final = Scenario("publish", "publish by HTTP", "publish", ("http-api",), clients=16, duration_s=5)
STORM: Final = Scenario(
    "storm",
    "connect, all at once",
    "connect",
    (*ROOMS, "protocol", "socketio"),
    clients=4_000,
    in_flight=0,
    channel_members=100,
    connect_s=30,
)
IDLE: Final = Scenario("idle", "connect, 64 at a time; idle", "connect", ROOMS, clients=4_000, channel_members=100)
BURST: Final = Scenario(
    "burst", "burst of 200 to 1,000", "burst", ROOMS, clients=1_000, messages=200, timed_every=100, deadline_s=10
)
STEADY: Final = Scenario(
    "steady", "1,000 members, 2 a second", "steady", ROOMS, clients=1_000, rate_hz=2, duration_s=8, timed_every=10
)
ECHO: Final = Scenario("echo", "echo, 100 clients", "echo", CONSUMERS, clients=100, duration_s=4)

WEBSOCKETS: Final = ("clarion", "protocol", "socketio", "nchan")
FAN_OUT: Final = ("clarion", "protocol", "sse", "http-stream", "socketio", "nchan", "stock", "stock-core")
RECOVERABLE: Final = ("clarion", "protocol")
CUT_S: Final = 10
"""Who cannot keep up is cut after so long."""

BURST_500: Final = Scenario(
    "burst-500",
    "burst of 500 to 1,000",
    "burst",
    FAN_OUT,
    clients=1_000,
    messages=500,
    timed_every=100,
    deadline_s=CUT_S,
)
BURST_KEPT: Final = replace(
    BURST_500,
    name="burst-kept",
    title="burst of 500 to 1,000, with history",
    subjects=RECOVERABLE,
    namespace="kept",
)
LARGE: Final = Scenario(
    "large",
    "5,000 members, 200 a second",
    "steady",
    FAN_OUT[:-1],  # a send of the core layer to so many takes longer than the whole
    clients=5_000,
    rate_hz=200,
    duration_s=1,
    timed_every=50,
    deadline_s=CUT_S,
)
LARGE_KEPT: Final = replace(
    LARGE, name="large-kept", title="5,000 members, 200 a second, with history", subjects=RECOVERABLE, namespace="kept"
)
STEADY_20: Final = replace(
    STEADY,
    name="steady-20",
    title="1,000 members, 20 a second",
    subjects=(*WEBSOCKETS, "stock"),
    rate_hz=20,
    deadline_s=CUT_S,
)
OWN: Final = Scenario(
    "own",
    "2,000 members, each in its own channel",
    "own",
    (*WEBSOCKETS, "stock", "stock-core"),
    clients=2_000,
    channel_members=1,
    messages=30_000,
    deadline_s=CUT_S,
)

PARTS: Final = Scenario(
    "parts",
    "idle memory of 10,000 by part",
    "parts",
    RECOVERABLE,
    clients=10_000,
    channel_members=100,
    settle_s=1,
)
REACH: Final = Scenario(
    "reach",
    "one publish to 10 members and to 10,000",
    "reach",
    RECOVERABLE,
    clients=10_000,
    messages=100,
    duration_s=5,
)
GATEWAYS: Final = Scenario(
    "gateways",
    "4,000 members, 20 a second, shared by 1, 2 and 4 gateways",
    "gateways",
    RECOVERABLE,
    clients=4_000,
    messages=2_000,
    rate_hz=20,
    duration_s=4,
    steps=(1, 2, 4),
)
PEERS: Final = (*WEBSOCKETS, "stock")
BY_SIZE: Final = Scenario(
    "by-size",
    "rooms of 10 to 10,000",
    "sizes",
    PEERS,
    clients=10_000,
    messages=200,
    rate_hz=5,
    duration_s=2,
    timed_every=10,
    deadline_s=5,
    steps=(10, 100, 1_000, 10_000),
    is_once=True,
)
BY_RATE: Final = Scenario(
    "by-rate",
    "1,000 members, 2 to 1,000 a second",
    "rates",
    PEERS,
    clients=1_000,
    duration_s=2,
    timed_every=10,
    deadline_s=5,
    steps=(2, 10, 50, 100, 200, 500, 1_000),
    is_once=True,
)

COST: Final = Scenario("cost", "one publish, plain and with history", "cost", ("publisher", "layer"), clients=1)
CONNECT: Final = Scenario(
    "connect",
    "connect, 64 at a time, all answered; idle",
    "connect",
    ("protocol", "socketio"),
    clients=4_000,
    channel_members=100,
)
SUBSCRIPTIONS: Final = Scenario(
    "subscriptions", "32 more subscriptions each", "subscriptions", ("protocol",), clients=1_000, more=32
)
SUBSCRIPTIONS_KEPT: Final = replace(
    SUBSCRIPTIONS, name="subs-kept", title="32 more subscriptions each, with history", namespace="kept"
)
SUBSCRIPTIONS_OWN: Final = replace(
    SUBSCRIPTIONS,
    name="subs-own",
    title="32 more subscriptions each, every one the only one of its channel",
    is_shared=False,
)
RECOVER: Final = Scenario(
    "recover", "one client missed 10,000", "recover", ("protocol",), clients=1, messages=10_000, namespace="long"
)
RECONNECT: Final = Scenario(
    "reconnect",
    "2,000 reconnect at once, each missed 100",
    "reconnect",
    ("protocol",),
    clients=2_000,
    in_flight=0,
    channel_members=100,
    messages=100,
    namespace="kept",
    connect_s=30,
)
FULL: Final = Plan(
    name="full",
    runs=3,
    budget_s=39 * 60,
    scenarios=(
        PUBLISH,
        STORM,
        IDLE,
        BURST,
        STEADY,
        BURST_500,
        BURST_KEPT,
        LARGE,
        LARGE_KEPT,
        STEADY_20,
        OWN,
        ECHO,
        COST,
        CONNECT,
        SUBSCRIPTIONS,
        SUBSCRIPTIONS_KEPT,
        SUBSCRIPTIONS_OWN,
        RECOVER,
        RECONNECT,
        PARTS,
        REACH,
        GATEWAYS,
        BY_SIZE,
        BY_RATE,
    ),
)

_PEERS_QUICK: Final = ("clarion", "protocol", "socketio")
QUICK: Final = Plan(
    name="quick",
    runs=1,
    budget_s=170,
    scenarios=(
        replace(PUBLISH, duration_s=2),
        replace(STORM, subjects=_PEERS_QUICK),
        replace(BURST_500, subjects=(*WEBSOCKETS, "stock"), deadline_s=4),
        replace(LARGE, subjects=WEBSOCKETS, deadline_s=5),
        replace(STEADY_20, subjects=WEBSOCKETS, duration_s=2),
        replace(OWN, subjects=_PEERS_QUICK, messages=10_000),
        COST,
        replace(CONNECT, clients=1_000),
        replace(SUBSCRIPTIONS, clients=500, settle_s=1),
        RECOVER,
        RECONNECT,
        replace(PARTS, clients=2_000, settle_s=0.5),
    ),
)
"""One run with fewer peers and smaller rooms: whether it works, not what it can."""

NOISE: Final = 0.05
"""What "no worse" allows for."""

TARGETS: Final = (
    Target("publish", "per_s", "http-api", at_least=1_000),
    Target("publish", "redis_growth", "http-api", at_most=0),
    Target("publish", "errors", "http-api", at_most=0),
    Target("storm", "refused", "clarion", at_most=0),
    Target("storm", "cpu_us", "clarion", over="stock", or_over="idle", at_most=1 / 3),
    Target("idle", "cpu_us", "clarion", over="stock", at_most=1 / 3),
    Target("idle", "idle_kib", "clarion", over="stock", at_most=1 / 3),
    Target("burst", "missing", "clarion", at_most=0),
    Target("burst", "per_s", "clarion", over="stock", at_least=20),
    Target("storm", "refused", "stock-on-clarion", over="stock", at_most=1),
    Target("storm", "cpu_us", "stock-on-clarion", over="stock", or_over="idle", at_most=0.6),
    Target("idle", "cpu_us", "stock-on-clarion", over="stock", at_most=0.6),
    Target("idle", "idle_kib", "stock-on-clarion", over="stock", at_most=1 + NOISE),
    Target("burst", "per_s", "stock-on-clarion", over="stock", at_least=1 - NOISE),
    Target("burst", "cpu_us", "stock-on-clarion", over="stock", at_most=1 + NOISE),
    Target("steady", "p50_ms", "stock-on-clarion", over="stock", at_most=1 + NOISE),
    Target("steady", "p99_ms", "stock-on-clarion", over="stock", at_most=1 + NOISE),
    Target("steady", "cpu_us", "stock-on-clarion", over="stock", at_most=1 + NOISE),
    Target("echo", "per_s", "stock-on-clarion", over="stock", at_least=1 - NOISE),
    Target("echo", "cpu_us", "stock-on-clarion", over="stock", at_most=1 + NOISE),
    *[
        target
        for room, share in (("clarion", 1), ("protocol", 1), ("sse", 0.5), ("http-stream", 0.5))
        for target in (
            Target("burst-500", "missing", room, at_most=0),
            Target("burst-500", "per_s", room, over="socketio", at_least=15 * share),
            Target("burst-500", "per_s", room, over="nchan", at_least=12 * share),
            Target("burst-500", "per_s", room, over="stock", at_least=300 * share),
            Target("large", "missing", room, at_most=0),
            Target("large", "per_s", room, over="socketio", at_least=7 * share),
            Target("large", "per_s", room, over="nchan", at_least=6 * share),
            Target("large", "cpu_us", room, over="socketio", at_most=1 / (7 * share)),
            Target("large", "cpu_us", room, over="nchan", at_most=1 / (6 * share)),
            Target("large", "p99_ms", room, at_most=250),
        )
    ],
    *[
        target
        for room in RECOVERABLE
        for target in (
            Target("burst-kept", "missing", room, at_most=0),
            Target("burst-kept", "per_s", room, over="socketio", over_in="burst-500", at_least=15),
            Target("burst-kept", "per_s", room, over="nchan", over_in="burst-500", at_least=12),
            Target("burst-kept", "per_s", room, over="stock", over_in="burst-500", at_least=300),
            Target("large-kept", "missing", room, at_most=0),
            Target("large-kept", "per_s", room, over="socketio", over_in="large", at_least=7),
            Target("large-kept", "per_s", room, over="nchan", over_in="large", at_least=6),
            Target("large-kept", "cpu_us", room, over="socketio", over_in="large", at_most=1 / 7),
            Target("large-kept", "cpu_us", room, over="nchan", over_in="large", at_most=1 / 6),
            Target("large-kept", "p99_ms", room, at_most=250),
            Target("steady-20", "cpu_us", room, over="socketio", at_most=0.75),
            Target("steady-20", "p99_ms", room, over="nchan", at_most=1.25),
            Target("own", "missing", room, at_most=0),
            Target("own", "per_s", room, over="socketio", at_least=2.3),
            Target("own", "cpu_us", room, over="socketio", at_most=1 / 2.3),
        )
    ],
    Target("storm", "refused", "protocol", at_most=0),
    *[
        target
        for room in RECOVERABLE
        for target in (
            Target("storm", "cpu_us", room, over="socketio", at_most=0.9),
            Target("parts", "idle_kib", room, at_most=9),
            Target("reach", "publisher_ratio", room, at_most=1.1),
            Target("reach", "redis_ratio", room, at_most=1.1),
            Target("gateways", "spread", room, at_most=1.1),
            Target("gateways", "redis_growth_us", room, at_most=10),
        )
    ],
    Target("cost", "ratio", "publisher", at_most=1.6),
    Target("cost", "wall_ratio", "publisher", at_most=1.6),
    Target("cost", "ratio", "layer", at_most=1.6),
    Target("cost", "wall_ratio", "layer", at_most=1.6),
    Target("connect", "cpu_us", "protocol", over="socketio", at_most=0.9),
    Target("connect", "idle_kib", "protocol", at_most=9),
    Target("connect", "refused", "protocol", at_most=0),
    Target("subscriptions", "sub_kib", "protocol", at_most=0.5),
    Target("subs-kept", "sub_kib", "protocol", at_most=0.5),
    Target("recover", "recover_worst_ms", "protocol", at_most=1_000),
    Target("reconnect", "seconds", "protocol", at_most=4),
    Target("reconnect", "reads", "protocol", at_most=40),  # of 20 channels, for 2,000 clients
)
