"""What real servers say to URLs that they do not take, and what is no refusal."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from clarion.refusals import REFUSAL_TIMEOUT_S, redis_reason, refusals
from tests.support.certificates import Authority
from tests.support.child import child_start, child_stop
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer, redis_server
from tests.support.waiting import wait_until

SQLITE = "sqlite:////nowhere/db"  # refuses nobody, and is not opened
WRONG = "WRONGPASS invalid username-password pair or user is disabled"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A Redis with users who may do all, nothing, or publish nowhere; `default` has no password."""
    with redis_server() as made:
        with made.client() as client:
            everything = {"enabled": True, "categories": ["+@all"], "keys": ["*"]}
            client.acl_setuser("all", passwords=["+right"], channels=["*"], **everything)
            client.acl_setuser("mute", passwords=["+right"], reset_channels=True, **everything)
            client.acl_setuser("other", passwords=["+right"], channels=["other*"], **everything)
            client.acl_setuser("nothing", enabled=True, passwords=["+right"])
            client.acl_setuser("off", enabled=False, passwords=["+right"])
        yield made


def refusals_of(*urls: str, prefix: str = "asgi") -> list[str]:
    """What these shards say."""
    return refusals(SQLITE, urls, prefix)


@pytest.mark.parametrize(
    ("user", "path", "said"),
    [
        ("all:hunter2@", "", WRONG), ("nobody:hunter2@", "", WRONG), ("off:right@", "", WRONG),
        (":hunter2@", "", "ERR AUTH <password> called without any password configured for the default user"),
        ("nothing:right@", "", "NOPERM this user has no permissions to run the 'ping' command"),
        ("mute:right@", "", "NOPERM this user has no permissions to access one of the channels used as arguments"),
        ("other:right@", "", "NOPERM this user has no permissions to access one of the channels used as arguments"),
        ("all:right@", "/16", "ERR DB index is out of range"),
        ("", "", ""), ("all:right@", "", ""), ("all:right@", "/15", ""), ("all:right@", "?socket_timeout=9", ""),
    ],
)  # fmt: skip
def test_redis_says_why_it_refuses(server: RedisServer, user: str, path: str, said: str) -> None:
    """The variable's name, the server, and Redis' first sentence; no password. A URL that is right has no line."""
    lines = refusals_of(f"redis://{user}127.0.0.1:{server.port}{path}")
    assert [_words(line) for line in lines] == ([f"CLARION_REDIS_URL: 127.0.0.1:{server.port}: {said}"] if said else [])


def _words(line: str) -> str:
    """What Redis 7.0 says for NOPERM; later versions name the user, and the channel less."""
    return re.sub(r"User (nothing|mute|other)\b", "this user", line)


def test_a_user_of_one_prefix_is_asked_for_that_one(server: RedisServer) -> None:
    """Rights on `other*` are enough where all names start so."""
    assert refusals_of(f"redis://other:right@127.0.0.1:{server.port}", prefix="other") == []


def test_redis_wants_a_password(redis_server: RedisServer) -> None:
    """A URL without one, where one is wanted."""
    with redis_server.client() as client:
        client.config_set("requirepass", "right")
    said = f"CLARION_REDIS_URL: 127.0.0.1:{redis_server.port}: NOAUTH Authentication required"
    assert refusals_of(redis_server.url) == [said]
    assert refusals_of(f"redis://:right@127.0.0.1:{redis_server.port}") == []


def test_redis_in_protected_mode_refuses(tmp_path: Path) -> None:
    """It says so to whoever is not on its machine, before it is asked anything."""
    found = [each.address for some in psutil.net_if_addrs().values() for each in some if each.family == socket.AF_INET]
    address = next((each for each in found if not each.startswith("127.")), "")
    if not address:
        pytest.skip("this machine has no address but loopback")
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "0.0.0.0", "--save", "", "--dir", str(tmp_path)]
    child = child_start(command, tmp_path / "log")
    try:
        wait_until(lambda: _pings(port), what="redis-server answers PING")
        for user in ("", ":hunter2@"):
            (line,) = refusals_of(f"redis://{user}{address}:{port}")
            assert line.startswith(f"CLARION_REDIS_URL: {address}:{port}: DENIED Redis is running in protected mode")
            assert line.count(".") == address.count(".")  # one sentence of its many
    finally:
        child_stop(child)


def test_redis_refuses_over_tls_and_by_a_socket_file(redis_server: RedisServer, tmp_path: Path) -> None:
    """The same words; a socket's path stands for the server."""
    authority = Authority(tmp_path)
    port = redis_server.tls_start(*authority.issue(tmp_path, "localhost"))
    query = f"?ssl_ca_certs={authority.file}"
    said = f"CLARION_REDIS_URL: localhost:{port}: {WRONG}"
    assert refusals_of(f"rediss://nobody:hunter2@localhost:{port}{query}") == [said]
    assert refusals_of(f"rediss://localhost:{port}{query}") == []
    path = tmp_path / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", path, "--save", ""]
    child = child_start(command, tmp_path / "log", cwd=tmp_path)
    try:
        wait_until(path.exists, what="the socket is there")
        assert refusals_of(f"unix://nobody:hunter2@{path}") == [f"CLARION_REDIS_URL: {path}: {WRONG}"]
    finally:
        child_stop(child)


def test_a_redis_that_loads_is_no_refusal(tmp_path: Path) -> None:
    """LOADING passes by itself."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--dir", str(tmp_path)]
    child = child_start(command, tmp_path / "log")
    wait_until(lambda: _pings(port), what="redis-server answers PING")
    with redis.Redis(port=port) as client:
        client.mset({f"k{number}": os.urandom(2_000) for number in range(1_000)})
        client.save()
    child_stop(child)
    slowly = ["--key-load-delay", "100000", "--loading-process-events-interval-bytes", "1024"]
    child = child_start([*command, *slowly], tmp_path / "log")
    try:
        wait_until(lambda: _reason(port) == "LOADING", what="Redis loads")
        assert refusals_of(f"redis://127.0.0.1:{port}") == []
        assert _reason(port) == "LOADING"
    finally:
        child_stop(child, hard=True)


def test_a_redis_that_has_no_connection_free_is_no_refusal(redis_server: RedisServer) -> None:
    """It says so by an error, and it passes."""
    with redis_server.client() as client:
        client.config_set("maxclients", 1)
        assert refusals_of(redis_server.url) == []


def test_nobody_is_waited_for_long(redis_server: RedisServer) -> None:
    """Shards that are away, that accept and say nothing, or that have no name: no refusal, within the time of one."""
    redis_server.pause()
    began = time.monotonic()
    # One whose own timeout is longer than ours: only the time that all have ends it.
    silent = [f"{redis_server.url}/{number}" for number in range(5)] + [f"{redis_server.url}?socket_timeout=30"]
    assert refusals_of(*silent, "redis://127.0.0.1:1", "redis://nowhere.invalid", "redis://a..b") == []
    assert time.monotonic() - began < REFUSAL_TIMEOUT_S + 1


def _reason(port: int) -> str:
    try:
        with redis.Redis(port=port, socket_timeout=5, retry=None) as client:
            client.ping()
    except redis.RedisError as exc:
        return redis_reason(exc)
    return ""


def _pings(port: int) -> bool:
    return _reason(port) == ""
