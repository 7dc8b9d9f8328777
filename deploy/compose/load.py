"""Put load on the deployment beside it, and say every five seconds how it fares: ``docker compose run --rm load``.

Clients subscribe to recoverable channels through nginx, and come back when they are cut; a publisher sends by REST. A
publication that a client missed is counted as lost. What it needs is in the image that it runs in.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import random
import sys
import time
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

CLIENTS = int(os.environ.get("LOAD_CLIENTS") or 200)
CHANNELS = int(os.environ.get("LOAD_CHANNELS") or 10)
RATE = float(os.environ.get("LOAD_PUBLICATIONS_PER_S") or 20)
SECONDS = float(os.environ.get("LOAD_SECONDS") or 60)
OPEN_PER_S = float(os.environ.get("LOAD_OPEN_PER_S") or 10)
"""New clients a second: nginx allows one address 10, unless CLARION_NGINX_HANDSHAKES_PER_S says otherwise."""
NAMESPACE = os.environ.get("LOAD_NAMESPACE") or "chat"
KEY = os.environ.get("CLARION_API_KEY") or ""
PUBLIC_URL = os.environ["CLARION_PUBLIC_URL"]
REPORT_S = 5


class Totals:
    """What all clients have seen so far."""

    def __init__(self) -> None:
        self.open = self.received = self.lost = self.repeated = self.reconnects = self.published = self.refused = 0
        self.delays: list[float] = []

    def line(self, seconds: float, received: int) -> str:
        """One line of the report; the delays of its time are spent by it."""
        delays, self.delays = sorted(self.delays), []
        p50, p99 = (1000 * delays[int(len(delays) * part)] if delays else 0.0 for part in (0.5, 0.99))
        return (
            f"load: {seconds:4.0f} s  {self.open} clients  {self.published} published ({self.refused} refused)  "
            f"{received / REPORT_S:.0f} deliveries/s  p50 {p50:.1f} ms  p99 {p99:.1f} ms  "
            f"{self.reconnects} reconnects  {self.repeated} repeated  {self.lost} lost"
        )


class Api:
    """http-api, by one kept connection; for one thread."""

    def __init__(self) -> None:
        self._connection = http.client.HTTPConnection("http-api", 8000, timeout=10)

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Send a request with the key; return status and JSON, or 0 if there was no answer."""
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        try:
            self._connection.request("POST", path, json.dumps(body), headers)
            answer = self._connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        except (OSError, http.client.HTTPException, ValueError):
            self._connection.close()
            return 0, None


class Client:
    """A client of one channel; it comes back, and recovers."""

    def __init__(self, token: str, channel: str, totals: Totals) -> None:
        self._token, self._channel, self._totals = token, channel, totals
        self._place: dict[str, Any] = {}
        self._offset = 0

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            with contextlib.suppress(OSError, WebSocketException, TimeoutError):
                await self._session()
            self._totals.reconnects += 1
            await asyncio.sleep(random.uniform(0.2, 2))  # noqa: S311 - spreads clients, guards nothing

    async def _session(self) -> None:
        url = f"ws{PUBLIC_URL.removeprefix('http')}/connection/websocket"
        # The origin's name with nginx's address: what a client outside would send.
        async with connect(url, host="nginx", port=8080, ssl=None, proxy=None, compression=None) as socket:
            await socket.send(json.dumps({"id": 1, "connect": {"token": self._token}}))
            await socket.send(json.dumps({"id": 2, "subscribe": {"channel": self._channel, **self._place}}))
            is_counted = False
            try:
                async for frame in socket:
                    for line in str(frame).splitlines():
                        said = json.loads(line)
                        if not said:
                            await socket.send("{}")
                        elif "push" in said and "pub" in said["push"]:
                            self._take(said["push"]["pub"], is_live=True)
                        elif said.get("id") == 2:
                            self._subscribed(said["subscribe"])
                            is_counted = True
                            self._totals.open += 1
            finally:
                self._totals.open -= is_counted

    def _subscribed(self, result: dict[str, Any]) -> None:
        for publication in result.get("publications", ()):
            self._take(publication, is_live=False)
        if self._place and not result.get("recovered"):
            self._totals.lost += max(1, result.get("offset", 0) - self._offset)
        self._offset = max(self._offset, result.get("offset", 0))
        self._place = {"recover": True, "epoch": result["epoch"], "offset": self._offset}

    def _take(self, publication: dict[str, Any], *, is_live: bool) -> None:
        offset = publication["offset"]
        if offset <= self._offset:
            self._totals.repeated += 1
            return
        self._totals.lost += offset - self._offset - 1
        self._totals.received += 1
        self._offset = offset
        if self._place:
            self._place["offset"] = offset
        if is_live:
            self._totals.delays.append(time.time() - publication["data"]["at"])


async def publish(channels: list[str], totals: Totals) -> None:
    """Publish at the wanted rate, to one channel after the other."""
    api, number, began = Api(), 0, time.monotonic()
    while True:
        path = f"/api/v1/channels/{quote(channels[number % len(channels)], safe='')}/publications"
        status, _ = await asyncio.to_thread(api.post, path, {"data": {"n": number, "at": time.time()}})
        totals.published += status == 202
        totals.refused += status != 202
        number += 1
        await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))


async def main() -> int:
    """Return 0 if nothing was lost."""
    if not KEY:
        sys.exit("load: CLARION_API_KEY is not set: a key with the scopes publish and control")
    if urlsplit(PUBLIC_URL).scheme != "http":
        sys.exit("load: it speaks plain HTTP with nginx: run it without deploy/compose/tls.yml")
    totals, api = Totals(), Api()
    channels = [f"{NAMESPACE}:load-{uuid4().hex[:8]}-{number}" for number in range(CHANNELS)]
    tasks: list[asyncio.Task[None]] = []
    for number in range(CLIENTS):
        status, answer = await asyncio.to_thread(api.post, "/api/v1/tokens", {"user": f"load-{number}"})
        if status != 201:
            sys.exit(f"load: no token: {status} {answer}")
        tasks.append(asyncio.create_task(Client(answer["token"], channels[number % CHANNELS], totals).run()))
        await asyncio.sleep(1 / OPEN_PER_S)
    tasks.append(asyncio.create_task(publish(channels, totals)))
    began, received = time.monotonic(), 0
    while time.monotonic() - began < SECONDS:
        await asyncio.sleep(REPORT_S)
        print(totals.line(time.monotonic() - began, totals.received - received), flush=True)
        received = totals.received
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    broken = [each for each in ended if not isinstance(each, asyncio.CancelledError)]
    if broken:
        print(f"load: {len(broken)} tasks broke: {broken[0]!r}")
    return int(bool(totals.lost or totals.repeated or broken))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
