"""A real gateway process on a real Redis, and clients to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from websockets.asyncio.client import ClientConnection, connect

from clarion.publisher import Publisher
from clarion.tokens import token_make
from tests.support.child import child_start, child_stop
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

PUBLIC_URL = "https://push.example"
TOKEN_SECRET = "dev-" + "t" * 40
CONFIG = """
[client]
allowed_origins = ["https://app.example"]
[[channel.namespaces]]
name = "chat"
allow_subscribe_for_client = true
allow_publish_for_client = true
[[channel.namespaces]]
name = "news"
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
[[channel.namespaces]]
name = "closed"
[[channel.namespaces]]
name = "kept"
history_size = 1000
history_ttl = "300s"
force_recovery = true
allow_subscribe_for_client = true
allow_publish_for_client = true
[[channel.namespaces]]
name = "recorded"
history_size = 10
history_ttl = "300s"
allow_subscribe_for_client = true
[[channel.namespaces]]
name = "newest"
history_size = 1
history_ttl = "300s"
force_recovery = true
force_recovery_mode = "cache"
allow_subscribe_for_client = true
"""


class GatewayProcess:
    """``python -m ws_gateway``, started and stopped by a test; ``application``: another one in its place."""

    application = ""

    def __init__(self, folder: Path, redis_url: str, prefix: str, *, config: str = CONFIG, **env: str) -> None:
        self.folder = folder
        self.port, self.internal_port = free_port(), free_port()
        self.prefix = prefix
        (folder / "clarion.toml").write_text(config)
        self.publisher = Publisher(redis_url.split(","), prefix=prefix, config=folder / "clarion.toml")
        self.env = {
            **os.environ,
            "CLARION_ENVIRONMENT": "development",
            "CLARION_SECRET_KEY": "dev-" + "s" * 40,
            "CLARION_TOKEN_SECRET": TOKEN_SECRET,
            "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            "CLARION_REDIS_URL": redis_url,
            "CLARION_LAYER_PREFIX": prefix,
            "CLARION_PUBLIC_URL": PUBLIC_URL,
            "CLARION_CONFIG": str(folder / "clarion.toml"),
            "CLARION_NODE": "gateway-test",
            "CLARION_GATEWAY_BIND": f"127.0.0.1:{self.port}",
            "CLARION_INTERNAL_PORT": str(self.internal_port),
            "DJANGO_SETTINGS_MODULE": "ws_gateway.settings.base",
            **env,
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return (self.folder / "gateway.log").read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log's events; every line is one."""
        return [json.loads(line) for line in self.log.splitlines()]

    def start(self, *, wait_ready: bool = True) -> None:
        others = ["clarion.server", self.application, "-p", str(self.port)]
        command = [sys.executable, "-m", *(others if self.application else ["ws_gateway"])]
        self.process = child_start(command, self.folder / "gateway.log", env=self.env, cwd=self.folder)
        wait_until(lambda: self.health("live") == 200, what="the gateway is live")
        if wait_ready:
            wait_until(lambda: self.health("ready") == 200, what="the gateway is ready")

    def stop(self) -> int:
        assert self.process is not None
        return child_stop(self.process)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def health(self, kind: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/{kind}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as exc:
            return exc.code
        except OSError:
            return 0

    def django(self, code: str) -> str:
        """Run code in a Django process on the gateway's database and return what it prints."""
        program = f"import django; django.setup()\n{code}"
        done = subprocess.run(
            [sys.executable, "-c", program], env=self.env, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.strip()

    def session_cookie(self, username: str) -> str:
        """Make a user with a session, as http-api's sign-in does, and return the cookie."""
        key = self.django(
            "from django.contrib.auth.models import User\n"
            "from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY\n"
            "from django.contrib.sessions.backends.db import SessionStore\n"
            f"user = User.objects.create_user({username!r}, password='x')\n"
            "session = SessionStore()\n"
            "session[SESSION_KEY] = str(user.pk)\n"
            "session[BACKEND_SESSION_KEY] = 'django.contrib.auth.backends.ModelBackend'\n"
            "session[HASH_SESSION_KEY] = user.get_session_auth_hash()\n"
            "session.save(); print(session.session_key)"
        )
        return f"clarion_session={key}"

    def lesson(self, path: str, *, origin: str | None = None, cookie: str | None = None) -> connect:
        """Connect to one of the lab's sockets, ``/ws/lab/<path>``."""
        return connect(
            f"ws://127.0.0.1:{self.port}/ws/lab/{path}",
            origin=origin,  # type: ignore[arg-type]
            additional_headers={"Cookie": cookie} if cookie else None,
            open_timeout=20,
        )

    def connect(
        self,
        channel: str,
        *,
        token: str | None = "",
        query: str = "",
        origin: str | None = None,
        cookie: str | None = None,
        **options: Any,
    ) -> connect:
        """Connect to a plain room; ``token`` "" makes a good one for user 7, None sends none."""
        if token == "":
            token = token_for("7")
        return connect(
            f"ws://127.0.0.1:{self.port}/ws/{quote(channel, safe=':')}/{query}",
            origin=origin,  # type: ignore[arg-type]
            subprotocols=["clarion", token] if token else None,  # type: ignore[list-item]
            additional_headers={"Cookie": cookie} if cookie else None,
            open_timeout=20,
            compression=None,
            **options,
        )


def token_for(user: str, **options: Any) -> str:
    return token_make(TOKEN_SECRET, user, **options)[0]


async def close_of(client: connect) -> tuple[int, str]:
    """Connect, and return the close code and reason that follow."""
    async with client as socket:
        await socket.wait_closed()
        assert socket.close_code is not None
        return socket.close_code, socket.close_reason or ""


async def received(socket: ClientConnection, count: int) -> list[Any]:
    """The next frames, as JSON."""
    return [json.loads(await socket.recv()) for _ in range(count)]


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with every table, to copy from."""
    folder = tmp_path_factory.mktemp("database")
    env = GatewayProcess(folder, "redis://127.0.0.1:1", "none").env
    subprocess.run([sys.executable, "-m", "django", "migrate", "-v0"], env=env, timeout=60, check=True)
    return folder / "db.sqlite3"


@contextmanager
def running_gateway(
    folder: Path,
    redis_url: str,
    database: Path,
    *,
    application: str = "",
    may_raise: bool = False,
    prefix: str = "",
    config: str = CONFIG,
    **env: str,
) -> Iterator[GatewayProcess]:
    """A gateway that is ready. At the end it must leave with 0, and without a traceback in its log unless it may."""
    shutil.copy(database, folder)
    gateway = GatewayProcess(folder, redis_url, prefix or f"t{uuid4().hex[:12]}", config=config, **env)
    gateway.application = application or gateway.application
    try:
        gateway.start()
        yield gateway
    finally:
        code = gateway.stop()
    assert may_raise or "Traceback" not in gateway.log
    assert code == 0


@pytest.fixture(scope="session")
def shared_gateway(
    shared_redis_url: str, migrated_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """One for all tests that leave it and its Redis as they are."""
    with running_gateway(tmp_path_factory.mktemp("gateway"), shared_redis_url, migrated_database) as gateway:
        yield gateway


@pytest.fixture
def gateway(redis_server: RedisServer, migrated_database: Path, tmp_path: Path) -> Iterator[GatewayProcess]:
    """One for a test alone, with a Redis that it may stop."""
    with running_gateway(tmp_path, redis_server.url, migrated_database) as gateway:
        yield gateway
