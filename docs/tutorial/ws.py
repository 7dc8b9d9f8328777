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

ANSWER_S: Final = 5.0
PAUSE_S: Final = 0.2
"""After a greeting and after an answer: whatever else comes with it stands above the next question."""


class Ear:
    """Shows what comes until the socket is closed, and counts it."""

    def __init__(self, socket: ClientConnection, clock: float | None) -> None:
        self.frames = 0
        self._socket = socket
        self._clock = clock
        self._heard = asyncio.Condition()
        self.hearing = asyncio.create_task(self._hear())

    async def _hear(self) -> None:
        with contextlib.suppress(ConnectionClosed):  # with a code that is not 1000 or 1001
            async for message in self._socket:
                shown = message if isinstance(message, str) else f"{len(message)} bytes: {message!r}"
                say(f"< {shown}", self._clock)
                await self._count()

    async def _count(self) -> None:
        async with self._heard:
            self.frames += 1
            self._heard.notify_all()

    async def wait(self, frames: int, seconds: float) -> None:
        """Wait until so many have come, the socket is closed, or the time is up."""
        waiting = asyncio.create_task(self._reach(frames))
        await asyncio.wait({waiting, self.hearing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    async def _reach(self, frames: int) -> None:
        async with self._heard:
            await self._heard.wait_for(lambda: self.frames >= frames)


def main() -> int:
    """Return 0 if a socket was opened, 1 if the handshake was refused or nobody answered."""
    asked = _arguments()
    try:
        return asyncio.run(_talk(asked))
    except InvalidStatus as exc:
        say(f"refused: HTTP {exc.response.status_code} {exc.response.reason_phrase}")
    except OSError as exc:
        say(f"nobody answered: {exc}")
    return 1


async def _talk(asked: argparse.Namespace) -> int:
    clock = time.monotonic() if asked.times else None
    socket = await connect(
        f"ws{asked.url.removeprefix('http')}",
        origin=Origin(asked.origin) if asked.origin else None,
        subprotocols=[Subprotocol(name) for name in asked.subprotocol] or None,
        additional_headers={"Cookie": asked.cookie} if asked.cookie else None,
        open_timeout=20,
        proxy=None,
    )
    say(f"open {socket.subprotocol or ''}".rstrip(), clock)
    ear = Ear(socket, clock)
    with contextlib.suppress(ConnectionClosed):  # by the server; said below
        for text in asked.text:
            await asyncio.sleep(PAUSE_S)
            say(f"> {text}", clock)
            before = ear.frames
            await socket.send(text.encode() if asked.binary else text)
            await ear.wait(before + 1, ANSWER_S)
    await ear.wait(asked.frames, asked.stay)
    await socket.close(asked.close)
    await ear.hearing
    by = "server" if socket.protocol.close_rcvd_then_sent else "us"
    say(f"closed by {by}: {socket.close_code} {socket.close_reason or ''}".rstrip(), clock)
    return 0


def say(line: str, clock: float | None = None) -> None:
    """Print a line, with the seconds since ``clock`` before it."""
    sys.stdout.write(f"{time.monotonic() - clock:6.2f} s  {line}\n" if clock is not None else f"{line}\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ws.py", description=__doc__)
    parser.add_argument("url", help="http://… or ws://…")
    parser.add_argument("text", nargs="*", help="sent one after the other, each when the one before was answered")
    parser.add_argument("--stay", type=float, default=1, metavar="S", help="seconds to listen at the end (1)")
    parser.add_argument("--frames", type=int, default=sys.maxsize, metavar="N", help="leave when so many have come")
    parser.add_argument("--times", action="store_true", help="show when each line came")
    parser.add_argument("--binary", action="store_true", help="send binary frames")
    parser.add_argument("--close", type=int, default=1000, metavar="CODE", help="close with this code (1000)")
    parser.add_argument("--subprotocol", action="append", default=[], help="offer it; may be repeated")
    parser.add_argument("--origin", help="pretend to be a page of this origin")
    parser.add_argument("--cookie", help="the Cookie header")
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    sys.exit(main())
