"""The gateway's numbers at ``GET /metrics`` of its internal port.

Read from the port's thread while the loop runs: integers, and dictionaries of bounded size that are copied in one step.
Nothing here walks over connections or channels.

Source: docs/reference/metrics.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args, get_type_hints

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from clarion.internal import Handler
from clarion.metrics import LoopCollector, counter, gauge, histogram, metrics_response, registry
from clarion.server.losses import Lost
from clarion.server.refusals import Refusal
from ws_gateway.counts import CONSUMER
from ws_gateway.protocol.commands import METHODS, Command

if TYPE_CHECKING:
    from clarion.server import Server
    from ws_gateway.gateway import Gateway
    from ws_gateway.lab.sockets import LabSockets


def metrics_handler(gateway: Gateway, server: Server, lab: LabSockets | None) -> Handler:
    """The handler of ``GET /metrics``."""
    found = registry(
        "ws-gateway",
        LoopCollector(gateway.loop_lag),
        ServerCollector(gateway, server, lab),
        ProtocolCollector(gateway),
        HubCollector(gateway),
    )
    return lambda _request: metrics_response(found)


class ServerCollector(Collector):
    """Connections: how many, who was refused, who was given up and why."""

    def __init__(self, gateway: Gateway, server: Server, lab: LabSockets | None) -> None:
        self._counts = gateway.rules.counts
        self._gateway = gateway
        self._server = server
        self._lab = lab

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        server, shared, counts = self._server, self._server.shared, self._counts
        kind = ("protocol", "format")
        consumers = {CONSUMER: 0 if self._lab is None else self._lab.sockets}
        yield gauge("clarion_gateway_connections", "Connections, by protocol.", counts.connections | consumers, *kind)
        yield counter("clarion_gateway_connections_opened", "Connections that were opened.", counts.opened, *kind)
        yield gauge("clarion_gateway_sockets", "WebSockets from their request on, and streams.", len(shared.sockets))
        limit = server.max_connections or 0
        yield gauge("clarion_gateway_sockets_limit", "Sockets over which a client gets 503; 0: not known yet.", limit)
        refused = {reason.value: shared.refusals[reason] for reason in Refusal} | counts.refused
        text = "Clients that were not let in, by reason: the server's, and the codes of errors."
        yield counter("clarion_gateway_refused", text, refused, "reason")
        lost = {reason.value: shared.lost[reason] for reason in Lost}
        yield counter("clarion_gateway_lost", "Connections that the server gave up, by reason.", lost, "reason")
        yield counter(
            "clarion_gateway_disconnects", "Connections that were closed, by code.", counts.disconnects, "code"
        )
        yield gauge("clarion_gateway_queued_bytes", "Bytes that wait for slow clients.", shared.budget.total_bytes)
        text = "Bytes that may wait for clients before those with most are given up."
        yield gauge("clarion_gateway_queued_bytes_limit", text, shared.budget.limit_bytes)
        yield gauge("clarion_gateway_draining", "1 while the gateway is leaving.", self._gateway.is_draining)


class ProtocolCollector(Collector):
    """What clients say, and what they are answered."""

    def __init__(self, gateway: Gateway) -> None:
        self._counts = gateway.rules.counts
        self._methods = dict(zip(METHODS, _request_types(), strict=True))

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        counts = self._counts
        yield counter("clarion_gateway_messages_received", "Messages of clients.", counts.received, "protocol")
        commands = {name: counts.commands[kind] for name, kind in self._methods.items()}
        commands["unknown"] = counts.commands[type(None)]
        yield counter("clarion_gateway_commands", "Commands of the client protocol.", commands, "method")
        yield counter("clarion_gateway_errors", "Answers that said what was wrong, by code.", counts.errors, "code")
        results = {"sent": counts.published, "failed": counts.unpublished}
        yield counter("clarion_gateway_publications", "Publications of clients.", results, "result")


class HubCollector(Collector):
    """Channels, and what comes from Redis."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        hub, layer = self._gateway.hub, self._gateway.layer
        yield gauge("clarion_gateway_subscriptions", "Members of all channels.", hub.subscriptions)
        yield gauge("clarion_gateway_channels", "Channels that have members here.", hub.channel_count)
        fanout = hub.fanout
        yield counter("clarion_gateway_deliveries", "Messages times members they were written to.", fanout.deliveries)
        yield counter("clarion_gateway_writes", "Writes to members: of one message or several.", fanout.writes)
        yield counter("clarion_gateway_written_bytes", "Bytes of these writes.", fanout.written_bytes)
        text = "Messages of one channel that went out in one write per member."
        yield histogram("clarion_gateway_batch_messages", text, fanout.batches)
        text = "From a read of Redis to the last write of what it held."
        yield histogram("clarion_gateway_fanout_lag_seconds", text, fanout.lag)
        dropped = {"undecodable": fanout.undecodable, "consumer_full": layer.dropped}
        yield counter("clarion_gateway_dropped", "Messages that reached nobody, by reason.", dropped, "reason")
        text = "Messages without an offset on channels with history: delivered live, not recoverable."
        yield counter("clarion_gateway_unkept", text, fanout.unkept.count)
        if hub.healer is not None:
            yield counter("clarion_gateway_heals", "Gaps that were filled from a stream.", hub.healer.heals)
            text = "Channels whose gap their stream no longer held: their members start anew."
            yield counter("clarion_gateway_positions_lost", text, hub.healer.resets)
        text = "1 while Redis is there and every subscription stands."
        yield gauge("clarion_gateway_redis_connected", text, hub.connected)
        yield counter("clarion_gateway_redis_losses", "Connections to Redis that were lost.", hub.redis.losses)
        yield counter("clarion_gateway_redis_reads", "Reads from Redis' subscriptions.", hub.redis.reads)
        yield counter("clarion_gateway_redis_read_bytes", "Bytes read from subscriptions.", hub.redis.read_bytes)


def _request_types() -> list[type]:
    """The type of each method's request, in the methods' order."""
    hints = get_type_hints(Command)
    return [next(kind for kind in get_args(hints[name]) if kind is not type(None)) for name in METHODS]
