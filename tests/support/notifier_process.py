"""A real notifier (``python -m notifier``) for tests, and an ear that hears what it sends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import redis

from tests.support.child import child_start, child_stop
from tests.support.ports import free_port
from tests.support.waiting import wait_until

_SECRETS = {
    "CLARION_SECRET_KEY": "dev-secret-key-of-the-tests-0123456789abcdef",
    "CLARION_TOKEN_SECRET": "dev-token-secret-of-the-tests-0123456789abc",
}


class NotifierProcess:
    """One notifier.

    Args:
        folder: where its log is written.
        options: more variables of its environment.
    """

    def __init__(self, folder: Path, database_url: str, redis_url: str, prefix: str = "asgi", **options: str) -> None:
        self.port = free_port()
        self._log = folder / f"notifier-{self.port}.log"
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CLARION_", "DJANGO_"))},
            **_SECRETS,
            "CLARION_ENVIRONMENT": "development",
            "DATABASE_URL": database_url,
            "CLARION_REDIS_URL": redis_url,
            "CLARION_LAYER_PREFIX": prefix,
            "CLARION_PUBLIC_URL": "http://testserver",
            "CLARION_INTERNAL_PORT": str(self.port),
            "CLARION_LOG_LEVEL": "DEBUG",
            **options,
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def events(self, name: str) -> list[dict[str, Any]]:
        """Its log lines of one event."""
        lines = [json.loads(line) for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def start(self, *, wait: bool = True) -> NotifierProcess:
        """Start it, and wait until it is ready."""
        self.process = child_start([sys.executable, "-m", "notifier"], self._log, env=self._env)
        if wait:
            self.ready_wait()
        return self

    def ready_wait(self) -> None:
        """Wait until it is ready; its log is in the error if it ends instead."""
        wait_until(self._is_ready, 60, what="the notifier is ready")

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the notifier ended with {self.process.returncode}:\n{self.log}"
        return self.health("ready")[0] == 200

    def health(self, kind: str) -> tuple[int, dict[str, Any]]:
        """Ask ``/health/<kind>``: status (0 while nothing answers) and body."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/{kind}", timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as exc:
            with exc:
                return exc.code, json.load(exc)
        except OSError:
            return 0, {}

    def check(self, name: str) -> str:
        """What readiness says of one check."""
        return str(self.health("ready")[1].get("checks", {}).get(name))

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def exit_code(self, deadline_s: float = 30) -> int:
        """Wait for its end."""
        assert self.process is not None
        return self.process.wait(deadline_s)

    def stop(self, *, hard: bool = False) -> int:
        """End it with SIGTERM (``hard``: SIGKILL) and return its exit code."""
        assert self.process is not None
        return child_stop(self.process, hard=hard)


class Ear:
    """Subscribes to every group of a prefix and keeps what arrives, in order."""

    def __init__(self, redis_url: str, prefix: str = "asgi") -> None:
        self._pattern = f"{prefix}__group__*"
        self._client = redis.Redis.from_url(redis_url, socket_timeout=None, socket_connect_timeout=5)
        self._pubsub = self._client.pubsub()
        self._pubsub.psubscribe(self._pattern)
        assert self._pubsub.get_message(timeout=30)["type"] == "psubscribe"
        self.heard: list[tuple[str, Any]] = []
        self._is_closing = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._is_closing:
            try:
                message = self._pubsub.get_message(timeout=0.1)
            except (redis.RedisError, OSError):
                return  # Redis was stopped: a new ear is needed
            if message is not None and message["type"] == "pmessage":
                group = message["channel"].decode().partition("__group__")[2]
                self.heard.append((group, msgpack.unpackb(message["data"])))

    def data(self, channel: str | None = None) -> list[Any]:
        """The publications' data, of one channel or of all."""
        return [message["data"] for group, message in list(self.heard) if channel in (None, group)]

    def close(self) -> None:
        """Stop listening."""
        self._is_closing = True
        self._thread.join(30)
        self._pubsub.close()
        self._client.close()


StartNotifier = Callable[..., NotifierProcess]
OpenEar = Callable[[], Ear]
