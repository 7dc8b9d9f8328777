"""A WebSocket client for the terminal: open, send each text, show what comes, close. ``ws.py --help`` for the rest."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

PAUSE_S: Final = 0.2


def main() -> int:
    """Return 0 if a socket was opened, 1 if the handshake was refused or nobody answered."""
    asked = _arguments()
    try:
        return asyncio.run(_talk(asked))
    except InvalidStatus as exc:
        _say(f"refused: HTTP {exc.response.status_code} {exc.response.reason_phrase}")
    except OSError as exc:
        _say(f"nobody answered: {exc}")
    return 1


async def _talk(asked: argparse.Namespace) -> int:
    began = time.monotonic()
    socket = await connect(
        f"ws{asked.url.removeprefix('http')}",
        origin=Origin(asked.origin) if asked.origin else None,
        subprotocols=[Subprotocol(name) for name in asked.subprotocol] or None,
        additional_headers={"Cookie": asked.cookie} if asked.cookie else None,
        open_timeout=20,
        proxy=None,
    )
    clock = began if asked.times else None
    _say(f"open {socket.subprotocol or ''}".rstrip(), clock)
    hearing = asyncio.create_task(_hear(socket, clock))
    try:
        for text in asked.text:
            await asyncio.sleep(PAUSE_S)  # so that each answer stands below its question
            _say(f"> {text}", clock)
            await socket.send(text.encode() if asked.binary else text)
        await asyncio.wait({hearing}, timeout=asked.stay)
    except ConnectionClosed:
        pass  # by the server; said below
    await socket.close(asked.close)
    await hearing
    by = "server" if socket.protocol.close_rcvd_then_sent else "us"
    _say(f"closed by {by}: {socket.close_code} {socket.close_reason or ''}".rstrip(), clock)
    return 0


async def _hear(socket: ClientConnection, clock: float | None) -> None:
    with contextlib.suppress(ConnectionClosed):  # with a code that is not 1000 or 1001
        async for message in socket:
            _say(f"< {message}" if isinstance(message, str) else f"< {len(message)} bytes: {message!r}", clock)


def _say(line: str, clock: float | None = None) -> None:
    sys.stdout.write(f"{time.monotonic() - clock:6.2f} s  {line}\n" if clock is not None else f"{line}\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ws.py", description=__doc__)
    parser.add_argument("url", help="http://… or ws://…")
    parser.add_argument("text", nargs="*", help="sent one after the other")
    parser.add_argument("--stay", type=float, default=1, metavar="S", help="seconds to listen after the last one (1)")
    parser.add_argument("--times", action="store_true", help="show when each line came")
    parser.add_argument("--binary", action="store_true", help="send binary frames")
    parser.add_argument("--close", type=int, default=1000, metavar="CODE", help="close with this code (1000)")
    parser.add_argument("--subprotocol", action="append", default=[], help="offer it; may be repeated")
    parser.add_argument("--origin", help="pretend to be a page of this origin")
    parser.add_argument("--cookie", help="the Cookie header")
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    sys.exit(main())
