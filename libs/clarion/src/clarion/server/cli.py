"""The command line: daphne's options and a few of this server's."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from daphne.cli import CommandLineInterface

from clarion.server.deflate import MIN_BYTES, Deflate
from clarion.server.lifespan import StartupFailed
from clarion.server.reactor import ReactorUnsuitable
from clarion.server.server import Server


class Cli(CommandLineInterface):
    """``python -m clarion.server module:application``."""

    description = "Clarion's ASGI server: daphne's HTTP, WebSockets of its own"

    def __init__(self) -> None:
        super().__init__()
        self.parser.prog = "python -m clarion.server"
        add = self.parser.add_argument_group("clarion.server").add_argument
        add("--backlog", type=int, default=4096, help="Connections that may wait to be accepted (default 4096)")
        add("--max-connections", type=int, help="WebSockets and HTTP streams at once; more are answered with 503")
        add("--max-queued-bytes", type=int, default=2**20, help="Bytes that may wait for one client (default 1 MiB)")
        add("--deflate", action="store_true", help="Compress messages (permessage-deflate) for clients that offer it")
        text = f"Smallest message that is compressed (default {MIN_BYTES})"
        add("--deflate-min-bytes", type=int, default=MIN_BYTES, help=text)
        add("--drain-wait", type=float, default=0.0, help="Seconds that SIGTERM still accepts clients (default 0)")
        add("--drain", type=float, default=10.0, help="Seconds over which clients are then sent away (default 10)")
        add("--drain-grace", type=float, default=10.0, help="Seconds for what is unfinished after that (default 10)")
        add("--shed-share", type=_share, default=0.5, help="Share of the clients that SIGUSR2 sends away (default 0.5)")
        add("--reuse-port", action="store_true", help="Set SO_REUSEPORT, so that several processes share a port")
        # Five seconds from the TCP connect cut 2,716 of 4,000 clients that came at once; a detached session is cut
        # by age only when the option is given.
        self.parser.set_defaults(websocket_connect_timeout=20, websocket_timeout=None)
        self._say("access_log", "Where to write the access log (- for stdout; by default nowhere)")
        self._say("ping_interval", "Seconds between two keepalive pings of a WebSocket, idle or not (default 20)")
        self._say("websocket_timeout", "Most seconds that a WebSocket may live (default: a day; no limit if detached)")

    def _say(self, option: str, text: str) -> None:
        """Describe one of daphne's options that does something else here."""
        for action in self.parser._actions:
            if action.dest == option:
                action.help = text

    def run(self, args: Sequence[str]) -> None:
        """Parse the arguments and serve; exit with 1 if the server cannot start."""
        options = self.parser.parse_args(args)
        self.server_class = lambda **daphnes: _server(options, daphnes)
        try:
            super().run(args)
        except (ReactorUnsuitable, StartupFailed) as exc:
            sys.exit(f"cannot start: {exc}")


def _share(text: str) -> float:
    """A number over 0 and at most 1."""
    share = float(text)
    if not 0 < share <= 1:
        raise ValueError(text)
    return share


def _server(options: argparse.Namespace, daphnes: dict[str, Any]) -> Server:
    if not options.access_log:
        daphnes["action_logger"] = None  # daphne's default writes a line a request to stdout
    return Server(
        **daphnes,
        backlog=options.backlog,
        max_connections=options.max_connections,
        max_queued_bytes=options.max_queued_bytes,
        deflate=Deflate(options.deflate_min_bytes) if options.deflate else None,
        drain_wait_s=options.drain_wait,
        drain_s=options.drain,
        drain_grace_s=options.drain_grace,
        shed_share=options.shed_share,
        reuse_port=options.reuse_port,
    )


def main() -> None:
    """Serve as the command line says."""
    Cli().run(sys.argv[1:])
