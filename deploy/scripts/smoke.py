"""Check a deployment from outside: what ``smoke.sh`` runs. Python's standard library alone, of Python 3.9 or later."""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import secrets
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

TOTAL_S = 18.0
"""For all checks together."""

ANSWER_S = 5.0
"""For one answer."""

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


class Failed(Exception):
    """A check found something else than it should."""


class Deployment:
    """What is checked: its origin, the key, and how much time is left."""

    def __init__(self, url: str, key: str, ca: str) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.authority = parts.netloc
        self.tls = ssl.create_default_context(cafile=ca or None) if parts.scheme == "https" else None
        self._key = key
        self._end = time.monotonic() + TOTAL_S

    @property
    def left_s(self) -> float:
        """Seconds that one answer may take: of what is left, and at least a moment."""
        return min(ANSWER_S, max(0.1, self._end - time.monotonic()))

    def connect(self) -> socket.socket:
        """Open a connection, with TLS if the URL says so."""
        plain = socket.create_connection((self.host, self.port), timeout=self.left_s)
        return self.tls.wrap_socket(plain, server_hostname=self.host) if self.tls else plain

    def ask(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        """Send a request with the key and return the answer's JSON.

        Raises:
            Failed: the status is another one.
        """
        connection = http.client.HTTPConnection(self.host, self.port)
        connection.sock = self.connect()
        connection.sock.settimeout(self.left_s)
        try:
            headers = {
                "Host": self.authority,
                "Authorization": f"Bearer {self._key}",
                "Content-Type": "application/json",
            }
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        if answer.status != status:
            raise Failed(f"{method} {path}: {answer.status} instead of {status}: {text[:300]}")
        return json.loads(text) if text else None


class WebSocket:
    """A client's side of RFC 6455, as much of it as is needed: text frames, pings, no extension."""

    def __init__(self, deployment: Deployment, path: str, protocols: str = "") -> None:
        self._deployment = deployment
        self._socket = deployment.connect()
        self._buffer = b""
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {deployment.authority}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(secrets.token_bytes(16)).decode()}",
        ]
        if protocols:
            lines.append(f"Sec-WebSocket-Protocol: {protocols}")
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status = head.split(b"\r\n")[0].decode(errors="replace")
        if " 101 " not in f"{status} ":
            self.close()
            raise Failed(f"GET {path.partition('?')[0]}: {status} instead of 101")

    def send(self, text: str) -> None:
        """Send a text frame."""
        self._frame(_TEXT, text.encode())

    def receive(self) -> str:
        """Return the next text frame; a ping is answered.

        Raises:
            Failed: the server closed.
        """
        while True:
            code, payload = self._read_frame()
            if code == _TEXT:
                return payload.decode()
            if code == _PING:
                self._frame(_PONG, payload)
            elif code == _CLOSE:
                number = struct.unpack("!H", payload[:2])[0] if len(payload) > 1 else 1005
                raise Failed(f"the server closed with {number} {payload[2:].decode(errors='replace')}")

    def close(self) -> None:
        """End the connection without a word."""
        self._socket.close()

    def _more(self) -> None:
        self._socket.settimeout(self._deployment.left_s)
        data = self._socket.recv(65_536)
        if not data:
            raise Failed("the connection was cut")
        self._buffer += data

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._more()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _read_frame(self) -> tuple[int, bytes]:
        first, second = self._take(2)
        length = second & 0x7F
        if length == 126:
            length = struct.unpack("!H", self._take(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self._take(8))[0]
        return first & 0x0F, self._take(length)

    def _frame(self, code: int, payload: bytes) -> None:
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack("!H", len(payload))
        mask = secrets.token_bytes(4)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        self._socket.sendall(bytes([0x80 | code]) + size + mask + masked)


class Client:
    """A connection of the client protocol (docs/protocol.md), JSON over WebSocket."""

    def __init__(self, deployment: Deployment, token: str) -> None:
        self._socket = WebSocket(deployment, "/connection/websocket")
        self._id = 0
        self._pushes: list[dict[str, Any]] = []
        self.id: str = self.command("connect", token=token)["client"]

    def command(self, name: str, **fields: Any) -> Any:
        """Send a command and return its result.

        Raises:
            Failed: the reply is an error.
        """
        self._id += 1
        self._socket.send(json.dumps({"id": self._id, name: fields}))
        while True:
            for reply in self._replies():
                if reply.get("id") == self._id:
                    if "error" in reply:
                        raise Failed(f"{name}: {reply['error']}")
                    return reply[name]

    def publication(self, channel: str) -> Any:
        """Wait for the next publication of a channel and return it."""
        while True:
            for push in self._pushes:
                if push.get("channel") == channel and "pub" in push:
                    self._pushes.remove(push)
                    return push["pub"]
            list(self._replies())

    def close(self) -> None:
        """Lose the connection."""
        self._socket.close()

    def _replies(self) -> list[dict[str, Any]]:
        """Read one frame; pushes are kept, pings answered, and the replies returned."""
        replies = []
        for line in self._socket.receive().splitlines():
            said = json.loads(line)
            if not said:
                self._socket.send("{}")
            elif "push" in said:
                self._pushes.append(said["push"])
            else:
                replies.append(said)
        return replies


class Smoke:
    """The checks, in their order; what one finds out the next one uses."""

    def __init__(self, deployment: Deployment, namespace: str) -> None:
        mark = secrets.token_hex(6)
        self._at = deployment
        self._user = f"smoke-{mark}"
        self._channel = f"{namespace}:smoke-{mark}"
        self._token = ""
        self._place: dict[str, Any] = {}
        self._client: Client | None = None

    def checks(self) -> list[tuple[str, Callable[[], str]]]:
        """Name and function of each; a function returns what it saw."""
        return [
            ("ready", self.ready),
            ("closed", self.closed),
            ("token", self.token),
            ("subscribe", self.subscribe),
            ("publish", self.publish),
            ("presence", self.presence),
            ("notification", self.notification),
            ("recover", self.recover),
            ("room", self.room),
        ]

    def ready(self) -> str:
        """http-api has its database, its tables and Redis."""
        checks = self._at.ask("GET", "/health/ready")["checks"]
        if away := [name for name, said in checks.items() if said != "ok"]:
            raise Failed(f"http-api is without {', '.join(away)}")  # Redis alone leaves it ready
        return ", ".join(checks)

    def closed(self) -> str:
        """What belongs to the internal ports cannot be reached from here."""
        for path in ("/metrics", "/drain"):
            self._at.ask("GET", path, status=404)
        return "no /metrics, no /drain"

    def token(self) -> str:
        """The key mints a token."""
        self._token = self._at.ask("POST", "/api/v1/tokens", {"user": self._user}, status=201)["token"]
        return f"for {self._user}"

    def subscribe(self) -> str:
        """A client connects and subscribes to a channel that can recover."""
        self._client = Client(self._at, self._token)
        result = self._client.command("subscribe", channel=self._channel)
        if not result.get("recoverable"):
            raise Failed(f"{self._channel} keeps no history: name a namespace that does (--namespace)")
        self._place = {"epoch": result["epoch"], "offset": result.get("offset", 0)}
        return self._channel

    def publish(self) -> str:
        """What is published by REST arrives over the WebSocket."""
        began = time.monotonic()
        self._publish({"n": 1})
        publication = self._connected.publication(self._channel)
        self._expect({"n": 1}, publication["data"])
        self._place["offset"] = publication["offset"]
        return f"received after {1000 * (time.monotonic() - began):.0f} ms"

    def presence(self) -> str:
        """The client is seen in the channel."""
        seen = self._at.ask("POST", "/api/presence", {"channel": self._channel})
        if self._connected.id not in seen.get("result", {}).get("presence", {}):
            raise Failed(f"the client is not in {json.dumps(seen)[:300]}")
        return "1 client"

    def notification(self) -> str:
        """A notification reaches its user's channel: PostgreSQL, the notifier and Redis work together."""
        channel = f"#{self._user}"
        self._connected.command("subscribe", channel=channel)
        began = time.monotonic()
        wanted = {"users": [self._user], "title": "smoke", "body": "test"}
        self._at.ask("POST", "/api/v1/notifications", wanted, status=202)
        while "smoke" not in json.dumps(self._connected.publication(channel)["data"]):
            pass
        return f"received after {1000 * (time.monotonic() - began):.0f} ms"

    def recover(self) -> str:
        """A client that was away gets what was published meanwhile, in order."""
        self._connected.close()
        missed = [{"n": number} for number in (2, 3, 4)]
        for data in missed:
            self._publish(data)
        self._client = Client(self._at, self._token)
        result = self._client.command("subscribe", channel=self._channel, recover=True, **self._place)
        if not result.get("recovered"):
            raise Failed("the server says that it could not recover")
        self._expect(missed, [publication["data"] for publication in result.get("publications", [])])
        self._client.close()
        return f"{len(missed)} publications"

    def room(self) -> str:
        """A plain room delivers what is published, as it is."""
        path = f"/ws/{quote(self._channel, safe='')}/?hello=1"
        room = WebSocket(self._at, path, f"clarion, {self._token}")
        if "hello" not in json.loads(room.receive()):
            raise Failed("a room did not say hello")
        self._publish({"n": 5})
        self._expect({"n": 5}, json.loads(room.receive()))
        room.close()
        return "received"

    @property
    def _connected(self) -> Client:
        if self._client is None:
            raise Failed("no client is connected")
        return self._client

    def _publish(self, data: Any) -> None:
        path = f"/api/v1/channels/{quote(self._channel, safe='')}/publications"
        self._at.ask("POST", path, {"data": data}, status=202)

    @staticmethod
    def _expect(wanted: Any, got: Any) -> None:
        if wanted != got:
            raise Failed(f"{json.dumps(got)[:300]} instead of {json.dumps(wanted)[:300]}")


def main() -> int:
    """Run all checks and return the exit code."""
    parser = argparse.ArgumentParser(prog="smoke.sh", description="Check a Clarion deployment from outside.")
    parser.add_argument("url", help="the origin that clients use, such as https://push.example")
    parser.add_argument("--namespace", default="chat", help="one with a history and presence (default: chat)")
    parser.add_argument("--ca", default="", help="PEM file of who signed the certificate, if that is no public one")
    arguments = parser.parse_args()
    key = os.environ.get("CLARION_API_KEY", "")
    if not key:
        parser.error("CLARION_API_KEY is not set: a key with the scopes publish, read, control and notify")
    if not urlsplit(arguments.url).hostname or urlsplit(arguments.url).scheme not in ("http", "https"):
        parser.error(f"{arguments.url} is no URL such as https://push.example")
    smoke = Smoke(Deployment(arguments.url, key, arguments.ca), arguments.namespace)
    failed = 0
    for name, check in smoke.checks():
        began = time.monotonic()
        try:
            word, text = "ok", check()
        except (Failed, OSError, ValueError, KeyError, http.client.HTTPException) as exc:
            failed += 1
            word, text = "FAILED", f"{type(exc).__name__ if not isinstance(exc, Failed) else ''} {exc}".strip()
        print(f"smoke: {name:<13} {word:<7} {time.monotonic() - began:5.2f} s  {text}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
