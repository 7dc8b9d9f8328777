"""Redis and PostgreSQL in the cluster: found, alive, and with the memory that is counted for them."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import redis

from tests.support.child import child_stop
from tests.support.waiting import wait_until

from .cluster_redis import ClusterRedis
from .conftest import ALL
from .manifests import COMPONENTS, ROOT, Manifests, Tree, bytes_of, patches_of

CONF: Final = (ROOT / "deploy" / "redis" / "redis.conf").read_text()
MIB: Final = 2**20
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


def test_redis_syncs_while_it_rewrites_its_log() -> None:
    """Once a second, always: else a node that dies takes what was written since the rewrite began."""
    said = dict(re.findall(r"^([a-z-]+) (\S+)$", CONF, re.MULTILINE))
    assert (said["appendonly"], said["appendfsync"]) == ("yes", "everysec")
    assert said.get("no-appendfsync-on-rewrite", "no") == "no"


def test_what_waits_for_a_gateway_counts_as_redis_memory(local: Manifests, tree: Tree, tmp_path: Path) -> None:
    """One subscriber that is behind, and writes are refused though there is no key; publishes are not."""
    with _started(ClusterRedis(local, tree, tmp_path)) as server, server.admin() as admin:
        admin.config_set("maxmemory", "20mb")
        with socket.create_connection(("127.0.0.1", server.port)) as behind:
            behind.sendall(b"AUTH admin %s\r\nSUBSCRIBE asgi__group__x\r\n" % server.admin_password().encode())
            wait_until(lambda: admin.pubsub_numsub("asgi__group__x")[0][1] == 1, what="it has subscribed")
            for _ in range(40):  # what the kernel's buffers hold, and over 20 MiB
                assert admin.publish("asgi__group__x", "x" * MIB) == 1
            (client,) = admin.client_list(_type="pubsub")
            assert int(client["omem"]) > 20 * MIB
            assert admin.dbsize() == 0
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                admin.xadd("asgi__stream__x", {"data": "1"})
        wait_until(lambda: admin.client_list(_type="pubsub") == [], what="it is gone")
        assert admin.xadd("asgi__stream__x", {"data": "1"})


def _gateways(manifests: Manifests) -> int:
    (scaler,) = [one["spec"] for one in manifests.of("HorizontalPodAutoscaler", "ScaledObject")
                 if one["spec"]["scaleTargetRef"]["name"] == "ws-gateway"]  # fmt: skip
    most: int = scaler.get("maxReplicas") or scaler["maxReplicaCount"]
    return most


@pytest.mark.parametrize("rendering", ["local", "all-components"])
def test_redis_holds_what_its_memory_is_for(tree: Tree, rendering: str) -> None:
    """maxmemory, a copy of it while the log is rewritten, what publishes may pile up over it for the most gateways."""
    manifests = tree.render("overlays/local") if rendering == "local" else tree.with_components(*COMPONENTS)
    assert rendering == "local" or rendering in ALL
    server = manifests.server("redis")
    maximum = server.spec["args"][server.spec["args"].index("--maxmemory") + 1]
    (behind,) = re.findall(r"^client-output-buffer-limit pubsub \d+mb (\d+)mb", CONF, re.MULTILINE)
    needed = 2 * int(maximum.removesuffix("mb")) + _gateways(manifests) * int(behind) + 384
    assert bytes_of(server.spec["resources"]["limits"]["memory"]) >= needed * MIB


def test_shards_in_the_cluster_have_names_of_their_own(tree: Tree) -> None:
    """The runbook's patch, and a URL that names each pod: `redis` would be any of them."""
    page = "docs/runbooks/redis-shard.md"
    manifests = tree.with_components("in-cluster-redis", patches=patches_of(page))
    shards = manifests.find("StatefulSet", "redis")["spec"]
    names = re.findall(r"@(redis-\d+)\.redis:6379", (ROOT / page).read_text())
    assert shards["serviceName"] == "redis"
    assert shards["replicas"] > 1
    assert set(names) == {f"redis-{number}" for number in range(shards["replicas"])}
