"""One gateway process: its server, its internal port, its start and its end.

Source: README.md; docs/reference/health.md.
"""

from __future__ import annotations

from typing import Final

import structlog
from daphne.endpoints import build_endpoint_description_strings

from clarion.env import refused_exit
from clarion.internal import Handler, InternalServer, health_routes, loop_check
from clarion.metrics import METRICS
from clarion.server import Deflate, ReactorUnsuitable, Server, StartupFailed
from ws_gateway.asgi import application, gateway, lab_sockets  # sets Django up
from ws_gateway.drain_requests import DrainRequests
from ws_gateway.env import GatewayEnv, env
from ws_gateway.gateway import Gateway
from ws_gateway.health import ready_checks
from ws_gateway.metrics import metrics_handler

log = structlog.stdlib.get_logger("ws_gateway")

EXIT_CANNOT_START: Final = 1

CONNECT_TIMEOUT_S: Final = 20
"""How long a client may take to send its request, and an endpoint to answer it: 4,000 that come at once are served."""


def run() -> int:
    """Serve until SIGTERM, then drain. Returns the process's exit code."""
    refused_exit(env)
    server = server_make(env)
    server.on_drain.append(gateway.drain_begin)
    server.on_goodbye.append(gateway.hub.settle)
    try:
        internal = InternalServer(env.internal_host, env.internal_port, routes(gateway, server))
    except OSError as exc:
        log.error("internal_port.taken", host=env.internal_host, port=env.internal_port, error=exc.strerror)
        return EXIT_CANNOT_START
    internal.start()
    try:
        server.run()
    except (ReactorUnsuitable, StartupFailed) as exc:
        log.error("gateway.unstartable", error=str(exc))
        return EXIT_CANNOT_START
    finally:
        internal.stop()
    return EXIT_CANNOT_START if server.abort_start else 0


def server_make(env: GatewayEnv) -> Server:
    """The ASGI server as the environment wants it. It stands behind nginx, which says who the client is."""
    return Server(
        application,
        endpoints=endpoints(env.gateway_bind),
        websocket_connect_timeout=CONNECT_TIMEOUT_S,
        websocket_handshake_timeout=CONNECT_TIMEOUT_S,
        proxy_forwarded_address_header="X-Forwarded-For",
        proxy_forwarded_port_header="X-Forwarded-Port",
        proxy_forwarded_proto_header="X-Forwarded-Proto",
        max_connections=env.connections_max,
        max_message_bytes=env.message_bytes_max,
        max_queued_bytes=env.queued_bytes_max,
        max_large_bytes=env.large_bytes_max,
        max_process_queued_bytes=env.process_queued_bytes_max,
        deflate=Deflate(env.deflate_min_bytes) if env.deflate else None,
        drain_wait_s=env.drain_wait_s,
        drain_s=env.drain_s,
        drain_grace_s=env.drain_grace_s,
        shed_share=env.shed_share,
        backlog=env.backlog,
    )


def endpoints(bind: str) -> list[str]:
    """Twisted's description of ``host:port`` or ``unix:/path``."""
    if bind.startswith("unix:"):
        return list(build_endpoint_description_strings(unix_socket=bind.removeprefix("unix:")))
    host, _, port = bind.rpartition(":")
    return list(build_endpoint_description_strings(host=host, port=int(port)))


def routes(gateway: Gateway, server: Server) -> dict[str, Handler]:
    """What the internal port answers."""
    loop = {"loop": loop_check(server.shared.loop)}
    health = health_routes(live=loop, ready={**ready_checks(gateway), **loop})
    return {
        **health,
        METRICS: metrics_handler(gateway, server, lab_sockets),
        "POST /drain": DrainRequests(server).answer,
    }
