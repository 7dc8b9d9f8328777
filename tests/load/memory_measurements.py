"""How idle memory is measured by part: the same connections, one step after the other, all of them at each."""

from __future__ import annotations

from tests.load import dialogues
from tests.load.bench import Bench
from tests.load.generator.orders import Dialogue, Greet, Talk


def measure_parts(bench: Bench) -> None:
    """Growth of RSS per connection from nothing to TCP, to a WebSocket, to a session, to a subscription.

    A plain room has no steps after its handshake: session and subscription are in its WebSocket's.
    """
    scenario = bench.scenario
    clients = bench.clients()
    bench.warm()
    before = bench.rss_settled()
    requests = [dialogues.request(bench.dialect, channel, user) for channel, user in clients]
    is_room = bench.dialect == "room"
    nothing_said = [] if is_room else [Dialogue((), ping=b"{}", pong=b"{}") for _ in clients]
    bench.check_accepted(bench.talk_to(requests, nothing_said, scenario.in_flight, is_mute=True))
    sizes = [bench.rss_settled()]
    bench.check_accepted(bench.fleet.greet(Greet(scenario.connect_s, scenario.in_flight)))
    sizes.append(bench.rss_settled())
    for said in () if is_room else _steps(clients):
        bench.check_accepted(bench.fleet.talk(Talk(said, scenario.connect_s, scenario.in_flight)))
        sizes.append(bench.rss_settled())
    bench.check_present(scenario.clients)
    names = ["tcp_kib", "websocket_kib", "session_kib", "subscription_kib"]
    grown = [after - was for was, after in zip([before, *sizes], sizes, strict=False)]
    each = [size / 1024 / scenario.clients for size in grown]
    bench.sample.figures |= dict(zip(names, each, strict=False)) | {"idle_kib": sum(each)}


def _steps(clients: list[tuple[str, str]]) -> tuple[list[Dialogue], list[Dialogue]]:
    """What the protocol's clients say: connect, then subscribe."""
    whole = [dialogues.protocol(user, [dialogues.subscribe(2, channel)]) for channel, user in clients]
    first = [Dialogue(said.steps[:1], said.ping, said.pong) for said in whole]
    return first, [Dialogue(said.steps[1:], said.ping, said.pong) for said in whole]
