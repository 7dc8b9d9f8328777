"""ws_gateway.counts and ws_gateway.metrics: few series, whatever comes from outside, and a scrape without a walk."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

from clarion.loop_lag import LoopLag
from tests.support.protocol_session import Driver, config_of
from ws_gateway.counts import KINDS_MAX, OTHER, ROOM, Counts, count
from ws_gateway.groups import Group
from ws_gateway.hub import Hub
from ws_gateway.metrics import HubCollector, ProtocolCollector, ServerCollector
from ws_gateway.protocol.commands import METHODS


class Walked(dict[Any, Any]):
    """A dictionary that may be asked for its size, and not be walked over."""

    def __iter__(self) -> Any:
        raise AssertionError("a scrape walked over it")

    values = items = keys = __iter__  # type: ignore[assignment]


class WalkedSet(set[Any]):
    def __iter__(self) -> Any:
        raise AssertionError("a scrape walked over it")


def test_kinds_are_bounded() -> None:
    """Codes that somebody makes up are one more series after the hundredth; those that are known go on."""
    counter: Counter[str] = Counter()
    for code in range(3 * KINDS_MAX):
        count(counter, code)
        count(counter, "known")
    assert len(counter) <= KINDS_MAX + 1
    assert counter["known"] == 3 * KINDS_MAX
    assert counter[OTHER] == 2 * KINDS_MAX + 1
    assert sum(counter.values()) == 6 * KINDS_MAX


def test_connections_go_up_and_down() -> None:
    """What was opened stays counted."""
    counts = Counts()
    for _ in range(3):
        counts.connection_opened(ROOM)
    counts.connection_closed(ROOM)
    assert (counts.connections[ROOM], counts.opened[ROOM]) == (2, 3)


def test_scrape_walks_over_no_channel_and_no_connection() -> None:
    """With 20,000 of each it does the same as with none: sizes and sums that are kept are all it takes."""
    hub = Hub(["redis://127.0.0.1:1"], prefix="asgi", decode=dict)
    hub._groups = Walked({number: Group(str(number), str(number), None) for number in range(20_000)})
    hub.joined = 20_000
    rules = Driver(config_of()).rules
    gateway: Any = SimpleNamespace(
        hub=hub, rules=rules, layer=SimpleNamespace(dropped=0), loop_lag=LoopLag(), is_draining=False
    )
    shared = SimpleNamespace(
        sockets=WalkedSet(range(20_000)),
        refusals=Counter(),
        lost=Counter(),
        budget=SimpleNamespace(total_bytes=0, limit_bytes=1),
    )
    server: Any = SimpleNamespace(shared=shared, max_connections=30_000)
    collectors = [ServerCollector(gateway, server, None), ProtocolCollector(gateway), HubCollector(gateway)]
    samples = [sample for each in collectors for family in each.collect() for sample in family.samples]
    values = {sample.name: sample.value for sample in samples if not sample.labels}
    assert values["clarion_gateway_sockets"] == values["clarion_gateway_channels"] == 20_000
    assert values["clarion_gateway_subscriptions"] == 20_000
    assert len(samples) < 150


def test_every_method_is_a_series_from_the_start() -> None:
    """A command is counted under its method's name."""
    driver = Driver(config_of())
    gateway: Any = SimpleNamespace(rules=driver.rules)
    families = {family.name: family for family in ProtocolCollector(gateway).collect()}
    methods = {sample.labels["method"]: sample.value for sample in families["clarion_gateway_commands"].samples}
    assert methods == dict.fromkeys([*METHODS, "unknown"], 0)
