"""What a rollout, a lost node and a long migration take, in seconds added up from the manifests."""

from __future__ import annotations

import re
from typing import Final

from clarion.server.drain import HOOK_S

from .manifests import ROOT, Container, Manifests, Tree, patches_of, pod_of

ENDPOINTS_S: Final = 2
"""Until a pod that ends is no address of its Service any more: two controllers and CoreDNS, each told by a watch."""

NAMES_S: Final = 5
"""How long a cluster's DNS keeps a name, at most: CoreDNS' own default, which the manifests are counted for."""

SLOW_NAMES_S: Final = 30
"""The same in Kubernetes' own add-on."""


def _sleep(container: Container) -> int:
    seconds: int = container.spec["lifecycle"]["preStop"]["sleep"]["seconds"]
    return seconds


def _sum(container: Container, *names: str) -> float:
    return sum(float(container.variables[name] or "nan") for name in names)


def _departures(manifests: Manifests) -> dict[str, tuple[float, float]]:
    """Seconds from the begin of a pod's end until its last client has gone, and until the process has."""
    gateway, http_api, notifier, nginx = map(manifests.server, ("ws-gateway", "http-api", "notifier", "nginx"))
    drain = _sleep(gateway) + _sum(gateway, "CLARION_DRAIN_WAIT_S", "CLARION_DRAIN_S", "CLARION_DRAIN_GRACE_S")
    answers = _sleep(http_api) + _sum(http_api, "CLARION_HTTP_GRACEFUL_TIMEOUT_S")
    batch = _sum(notifier, "CLARION_NOTIFIER_GRACE_S")
    sockets = _sleep(nginx) + _sum(nginx, "CLARION_NGINX_SHUTDOWN_TIMEOUT_S")
    return {
        "ws-gateway": (drain, drain + HOOK_S),
        "http-api": (answers, answers),
        "notifier": (batch, batch),
        "nginx": (sockets, sockets),
    }


def _nginx_keeps_s() -> int:
    (seconds,) = re.findall(r"valid=(\d+)s", (ROOT / "deploy" / "nginx" / "variables.envsh").read_text())
    return int(seconds)


def _is_graceful(manifests: Manifests) -> None:
    for name, (_, ends) in _departures(manifests).items():
        assert pod_of(manifests.find("Deployment", name))["terminationGracePeriodSeconds"] >= ends + 5, name


def _is_one_at_a_time(manifests: Manifests) -> None:
    departures = _departures(manifests)
    for name in ("ws-gateway", "nginx"):
        assert manifests.find("Deployment", name)["spec"]["minReadySeconds"] >= departures[name][0], name


def _is_known_in_time(manifests: Manifests, names_s: int) -> None:
    known = ENDPOINTS_S + names_s + _nginx_keeps_s()
    gateway, http_api = manifests.server("ws-gateway"), manifests.server("http-api")
    assert _sleep(gateway) + _sum(gateway, "CLARION_DRAIN_WAIT_S") >= known
    assert _sleep(http_api) >= known


def test_grace_is_over_what_a_stop_takes(manifests: Manifests) -> None:
    """preStop, the wait for nginx, the drain: all of it passes before Kubernetes kills."""
    _is_graceful(manifests)


def test_sockets_leave_one_pod_at_a_time(manifests: Manifests) -> None:
    """A Deployment does not count pods that are ending: no successor is available before their clients have gone."""
    _is_one_at_a_time(manifests)


def test_nobody_is_sent_to_a_pod_that_has_closed(manifests: Manifests) -> None:
    """It serves until its address has left the Service, the cluster's DNS and nginx, one after the other."""
    _is_known_in_time(manifests, NAMES_S)


def test_the_patch_for_slow_names_is_enough(tree: Tree) -> None:
    """Where DNS keeps names for 30 s: what k8s/README.md tells an overlay to patch keeps all three rules."""
    slow = tree.with_components("network-policies", patches=patches_of("k8s/README.md"))
    _is_known_in_time(slow, SLOW_NAMES_S)
    _is_graceful(slow)
    _is_one_at_a_time(slow)


def test_a_rollout_does_not_fail_before_its_migration_could(manifests: Manifests) -> None:
    """http-api and the notifier wait for the Job: it fails first, or a good rollout would be called a failed one."""
    job = manifests.find("Job", "migrate")["spec"]["activeDeadlineSeconds"]
    for name in ("http-api", "notifier"):
        spec, starts = manifests.find("Deployment", name)["spec"], manifests.server(name).spec["startupProbe"]
        takes = job + spec["minReadySeconds"] + starts["periodSeconds"] * starts["failureThreshold"]
        assert spec.get("progressDeadlineSeconds", 600) >= takes, name


def test_pods_of_a_lost_node_are_replaced_soon(manifests: Manifests) -> None:
    """Half a minute after a node is given up, in place of Kubernetes' five: nothing there is anybody's only copy."""
    for deployment in manifests.of("Deployment"):
        tolerated = pod_of(deployment).get("tolerations", [])
        assert tolerated == [
            {"key": f"node.kubernetes.io/{state}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
            for state in ("not-ready", "unreachable")
        ], deployment["metadata"]["name"]
