"""The Redis of the cluster: what the services send is allowed and nothing else, on a real Redis."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import redis

from clarion.errors import ClarionError
from clarion.layers import ClarionChannelLayer
from clarion.publisher import Publisher
from tests.support.child import child_stop
from tests.support.waiting import wait_until

from .cluster_redis import ClusterRedis
from .manifests import ROOT, Manifests, Tree

_SENT: Final = r"[XZHS][A-Z]*(?:RANGE|SCAN|GET|SET)|(?:UN)?SUBSCRIBE|EVAL(?:SHA)?|PUBLISH|UNLINK|TIME|PING"
"""Commands that stand in the code as words, as ``("XRANGE", ...``."""

SOURCES: Final = [*ROOT.glob("libs/clarion/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")]


@pytest.fixture(scope="module")
def cluster(local: Manifests, tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterRedis]:
    """The Redis of the local overlay."""
    server = ClusterRedis(local, tree, tmp_path_factory.mktemp("redis"))
    wait_until(server.answers, what="Redis answers the probe")
    yield server
    child_stop(server.child)


@pytest.fixture(scope="module")
def url(cluster: ClusterRedis, tree: Tree) -> str:
    """The services' URL, with this Redis' place in it."""
    (found,) = re.findall(r"CLARION_REDIS_URL=(.+)", (tree.secrets / "clarion.env").read_text())
    return found.replace("@redis:6379", f"@127.0.0.1:{cluster.port}")


def _password(url: str) -> str:
    return url.split(":")[2].partition("@")[0]


def test_the_library_works_as_that_user(url: str, tmp_path: Path) -> None:
    """Publish with and without history, under a key, read a history, subscribe and receive by the layer."""
    config = tmp_path / "clarion.toml"
    config.write_text('[[channel.namespaces]]\nname = "kept"\nhistory_size = 5\nhistory_ttl = "60s"\n'
                      '[[channel.namespaces]]\nname = "plain"\n')  # fmt: skip
    publisher = Publisher([url], prefix="asgi", config=config)
    publisher.ping()
    for channel in ("kept:x", "plain:x"):
        publisher.publish(channel, 1)
        publisher.publish(channel, 2, idempotency_key="key")
        publisher.publish(channel, 2, idempotency_key="key")

    async def receive() -> object:
        layer = ClarionChannelLayer(hosts=[url], prefix="asgi", config=str(config))
        name = await layer.new_channel()
        await layer.group_add("kept:x", name)
        await layer.group_send("kept:x", {"type": "some.event", "n": 3})
        async with asyncio.timeout(20):
            message = await layer.receive(name)
        await layer.flush()
        return message["n"]

    assert asyncio.run(receive()) == 3
    with redis.Redis.from_url(url) as client:
        assert client.xrange("asgi__stream__kept:x")


@pytest.mark.parametrize(
    "command",
    [
        ["FLUSHALL"], ["CONFIG", "GET", "*"], ["ACL", "LIST"], ["SHUTDOWN"], ["KEYS", "*"], ["DEBUG", "SLEEP", "0"],
        ["MONITOR"], ["CLIENT", "KILL", "TYPE", "normal"], ["REPLICAOF", "NO", "ONE"], ["SCRIPT", "FLUSH"], ["INFO"],
        ["GET", "other-app"], ["SET", "other-app", "1"], ["PUBLISH", "other-app", "1"], ["SUBSCRIBE", "other-app"],
        ["EVAL", "return redis.call('GET', 'other-app')", "0"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_services_user_may_do_nothing_else(cluster: ClusterRedis, url: str, command: list[str]) -> None:
    """No administration, nothing dangerous, no name of another application, not even by a script."""
    with cluster.client("clarion", _password(url)) as client, pytest.raises(redis.ResponseError) as refused:
        client.execute_command(*command)
    assert re.search("permission|can't access|not allowed", str(refused.value))


def test_nobody_else_may_do_anything(cluster: ClusterRedis) -> None:
    """Without a password nothing; by the probe's user PING alone."""
    with redis.Redis(port=cluster.port) as client, pytest.raises(redis.AuthenticationError):
        client.ping()
    with cluster.client("probe", "any") as client:
        assert client.ping()
        for command in (["GET", "asgi__x"], ["PUBLISH", "asgi__x", "1"], ["INFO"], ["ACL", "WHOAMI"]):
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)


def test_a_password_is_changed_without_a_restart(cluster: ClusterRedis, url: str) -> None:
    """A second one is added, the first is taken away, and the connections that are there stay."""
    passwords = [_password(url), "another-one"]
    with cluster.client("clarion", passwords[0]) as old, cluster.admin() as operator:
        connection = old.connection_pool.get_connection()
        for rule, good in ((">another-one", passwords), (f"<{passwords[0]}", passwords[1:])):
            operator.execute_command("ACL", "SETUSER", "clarion", rule)
            for password in passwords:
                with cluster.client("clarion", password) as client:
                    if password in good:
                        assert client.ping()
                    else:
                        with pytest.raises(redis.AuthenticationError):
                            client.ping()
            connection.send_command("PING")
            assert connection.read_response() == b"PONG"
        old.connection_pool.release(connection)
        for rule in (f">{passwords[0]}", "<another-one"):
            operator.execute_command("ACL", "SETUSER", "clarion", rule)


def test_every_command_of_the_code_is_allowed(tree: Tree) -> None:
    """Commands of scripts, and those that are sent as words: a new one has to be added to the user's list."""
    granted = {word.lstrip("+").partition("|")[0] for word in (tree.secrets / "users.acl").read_text().split()
               if word.startswith("+")}  # fmt: skip
    texts = "\n".join(path.read_text() for path in SOURCES)
    called = {name.lower() for name in re.findall(r"redis\.p?call\('([A-Z]+)'", texts)}
    sent = {name.lower() for name in re.findall(rf"""\(b?"({_SENT})["']""", texts)}
    assert len(called) > 20
    assert {"publish", "xrange", "hscan", "sscan", "unlink", "subscribe"} <= sent
    assert called | sent <= granted, called | sent - granted


def test_another_prefix_needs_names_of_its_own(cluster: ClusterRedis, url: str) -> None:
    """The user of one deployment is refused the names of another; with that one's prefix in its line it works."""
    with pytest.raises(ClarionError):
        Publisher([url], prefix="staging").publish("x", 1)
    (line,) = re.findall(r"^user clarion (.+)", cluster.users.read_text(), re.MULTILINE)
    with cluster.admin() as operator:
        operator.execute_command("ACL", "SETUSER", "staging", *line.replace("asgi*", "staging*").split())
    theirs = url.replace("//clarion:", "//staging:")
    Publisher([theirs], prefix="staging").publish("x", 1)
    with pytest.raises(ClarionError):
        Publisher([theirs], prefix="asgi").publish("x", 1)


def test_every_overlays_prefix_is_in_its_users_line(overlay: Manifests, tree: Tree) -> None:
    """The line of the local overlay's file, or the one that the runbook gives for a managed Redis."""
    prefix = overlay.find("ConfigMap", "clarion-env")["data"].get("CLARION_LAYER_PREFIX", "asgi")
    own = (
        tree.secrets / "users.acl" if overlay.of("StatefulSet") else ROOT / "docs" / "runbooks" / "first-deployment.md"
    )
    assert f"~{prefix}* &{prefix}*" in own.read_text()
