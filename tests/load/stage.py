"""What all measurements of a run stand on: cores, a Redis of their own, a migrated database, secrets, an API key."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from clarion.namespaces import ClarionConfig, config_load
from clarion.tokens import token_make
from tests.load.processes import Cores, on_cores
from tests.support.redis_server import RedisServer, redis_server

ROOT: Final = Path(__file__).resolve().parents[2]
ORIGIN: Final = "http://127.0.0.1:8080"
_TOKEN_SECRET: Final = "dev-bench-token-secret-0123456789abcdef"
_SECRET_KEY: Final = "dev-bench-secret-key-0123456789abcdef"
_USER_AGENT: Final = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
_COOKIES: Final = (
    "csrftoken=Zf3kqT9bY2mWxLrV7uJcHs5nPdAe8gQo; _ga=GA1.1.1234567890.1700000000; "
    "_ga_ABCDEFGHIJ=GS1.1.1700000000.12.1.1700000600.60.0.0; consent="
)


@dataclass(frozen=True)
class Stage:
    """One run's surroundings.

    Attributes:
        config: which channels there are.
        env: of every measured server; nothing of the caller's environment but PATH and the like.
        api_key: with the scope ``publish``.
    """

    folder: Path
    cores: Cores
    redis: RedisServer
    redis_pid: int
    config: ClarionConfig
    env: dict[str, str]
    api_key: str

    def log(self, name: str) -> Path:
        """Where a process's output goes."""
        return self.folder / f"{name}.log"


@contextmanager
def stage_set(cores: Cores, config: Path) -> Iterator[Stage]:
    """Start Redis on the load's cores, migrate a database, make a key; all is gone after the block."""
    folder = Path(tempfile.mkdtemp(prefix="clarion-bench-"))
    try:
        with on_cores(cores.load), redis_server() as redis:
            with redis.client() as client:
                redis_pid = int(client.info("server")["process_id"])
                # A burst waits in Redis for a slow reader; the default (32 MiB) would cut the stock server off.
                client.config_set("client-output-buffer-limit", "pubsub 256mb 256mb 60")
            env = _env(folder, redis, config)
            _manage(env, "migrate", "--verbosity", "0")
            api_key = _manage(env, "api_key_create", "--name", "bench", "--scopes", "publish").split()[-1]
            yield Stage(folder, cores, redis, redis_pid, config_load(config), env, api_key)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def token(user: str, *channels: str) -> str:
    """A connection token; its channels are subscribed to by the server."""
    return token_make(_TOKEN_SECRET, user, channels=channels)[0]


def handshake(channel: str, user: str) -> bytes:
    """A browser's handshake with a token and 1 KB of cookies, for a plain room."""
    return handshake_to(f"/ws/{quote(channel, safe=':')}/?token={token(user)}")


def handshake_to(path: str) -> bytes:
    """A browser's handshake with 1 KB of cookies."""
    return _head(
        f"GET {path} HTTP/1.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    )


def http_request(method: str, path: str, body: bytes = b"") -> bytes:
    """A browser's request with 1 KB of cookies."""
    sized = ("Content-Type: application/json", f"Content-Length: {len(body)}") if body else ()
    return _head(f"{method} {path} HTTP/1.1", "Connection: keep-alive", "Accept: */*", *sized) + body


def _head(*lines: str) -> bytes:
    cookies = _COOKIES + "c" * (1024 - len(_COOKIES))
    always = [
        "Host: 127.0.0.1:8080",
        "Pragma: no-cache",
        "Cache-Control: no-cache",
        f"User-Agent: {_USER_AGENT}",
        f"Origin: {ORIGIN}",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
        f"Cookie: {cookies}",
    ]
    return ("\r\n".join([*lines, *always]) + "\r\n\r\n").encode()


def _env(folder: Path, redis: RedisServer, config: Path) -> dict[str, str]:
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ},
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "CLARION_ENVIRONMENT": "development",
        "CLARION_SECRET_KEY": _SECRET_KEY,
        "CLARION_TOKEN_SECRET": _TOKEN_SECRET,
        "DATABASE_URL": f"sqlite:///{folder / 'bench.sqlite3'}",
        "CLARION_REDIS_URL": redis.url,
        "CLARION_PUBLIC_URL": ORIGIN,
        "CLARION_CONFIG": str(config),
        "CLARION_NODE": "bench",
        "CLARION_HTTP_WORKERS": "1",
        "CLARION_INTERNAL_PORT": "0",
        "STOCK_REDIS_PORT": str(redis.port),
    }


def _manage(env: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "http_api", *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"python -m http_api {arguments[0]} failed:\n{done.stderr}")
    return done.stdout
