"""Redis and PostgreSQL in the cluster: found, and alive."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.support.child import child_stop
from tests.support.waiting import wait_until

from .cluster_redis import ClusterRedis
from .manifests import Manifests, Tree

needs_redis_cli = pytest.mark.skipif(shutil.which("redis-cli") is None, reason="no redis-cli on this machine")


@contextmanager
def _started(server: ClusterRedis) -> Iterator[ClusterRedis]:
    try:
        wait_until(server.answers, what="Redis answers the probe")
        yield server
    finally:
        child_stop(server.child)


@pytest.mark.parametrize("name", ["redis", "postgres"])
def test_a_store_keeps_its_name_while_it_is_not_ready(local: Manifests, name: str) -> None:
    """There is no other one to go to: without its address a reconnect fails that could have succeeded."""
    service = local.find("Service", name)["spec"]
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"] is True
    assert local.find("StatefulSet", name)["spec"]["serviceName"] == name


@needs_redis_cli
def test_redis_on_a_full_disk_is_alive(local: Manifests, tree: Tree, tmp_path: Path) -> None:
    """It refuses writes and still serves reads and pub/sub: not ready, and not restarted; without an answer it is."""
    live, ready = (local.server("redis").spec[f"{name}Probe"]["exec"]["command"] for name in ("liveness", "readiness"))
    with _started(ClusterRedis(local, tree, tmp_path, file_kib=256)) as server, server.admin() as admin:
        assert (server.probe(live), server.probe(ready)) == (0, 0)
        admin.set("asgi__x", "x" * 2**19)  # its log cannot hold it
        with pytest.raises(redis.ResponseError, match="MISCONF"):
            wait_until(lambda: admin.set("asgi__y", "y") is None, what="the log is full")
        assert admin.publish("asgi__group__x", "still there") == 0
        assert (server.probe(live), server.probe(ready)) == (0, 1)
    assert server.probe(live) != 0


@needs_redis_cli
def test_redis_that_refuses_the_probe_is_alive(local: Manifests, tree: Tree, tmp_path: Path) -> None:
    """A file of users without the probe's is an answer, too: no reason to end every connection each minute."""
    live, ready = (local.server("redis").spec[f"{name}Probe"]["exec"]["command"] for name in ("liveness", "readiness"))
    with _started(ClusterRedis(local, tree, tmp_path)) as server:
        with server.admin() as admin:
            admin.execute_command("ACL", "DELUSER", "probe")
        assert server.probe(live) == 0
        assert server.probe(ready) != 0


@needs_redis_cli
def test_redis_that_hangs_is_not_alive(local: Manifests, tree: Tree, tmp_path: Path) -> None:
    """The command ends only with an answer; the probe's time limit is what ends it then."""
    live = local.server("redis").spec["livenessProbe"]["exec"]["command"]
    with _started(ClusterRedis(local, tree, tmp_path)) as server:
        server.suspend()
        with pytest.raises(TimeoutError):
            server.probe(live, deadline_s=2)
        server.resume()
