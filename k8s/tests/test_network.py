"""Who may reach whom: worked out from the NetworkPolicies as Kubernetes does, compared with the diagram."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest

from .manifests import ROOT, Manifests, Tree, labels_of

Labels = dict[str, str]

DIAGRAM: Final = ROOT / "docs" / "explanation" / "architecture.md"
PODS: Final = {
    "B": "outside", "S": "publisher", "N": "nginx", "H": "http-api", "G": "ws-gateway", "W": "notifier",
    "M": "migrate", "P": "postgres", "R": "redis",
}  # fmt: skip
"""The diagram's letters."""

PORTS: Final = {
    "nginx": [8080], "http-api": [8000], "ws-gateway": [8001, 9102], "notifier": [9103], "migrate": [], "redis": [6379],
    "postgres": [5432], "publisher": [], "stranger": [],
}  # fmt: skip
PUBLIC: Final = {"nginx": 8080, "http-api": 8000, "ws-gateway": 8001, "redis": 6379, "postgres": 5432}
"""The port of an arrow; the others are internal."""


def _matches(selector: dict[str, Any], labels: Labels) -> bool:
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


class Network:
    """The pods of a rendering, a publisher of somebody's own, and a stranger in the same namespace."""

    def __init__(self, manifests: Manifests) -> None:
        self.policies = [one["spec"] for one in manifests.of("NetworkPolicy")]
        workloads = manifests.of("Deployment", "StatefulSet", "Job")
        self.pods = {one["metadata"]["name"]: labels_of(one) for one in workloads}
        self.pods |= {"publisher": {"clarion.dev/publisher": "true"}, "stranger": {"app": "stranger"}}

    def reaches(self, source: str, target: str, port: int) -> bool:
        """Whether a pod may open a connection to another one: both ends have to allow it."""
        labels = self.pods
        out = source == "outside" or self.allows("Egress", labels[source], labels[target], port)
        peer = None if source == "outside" else labels[source]
        return out and self.allows("Ingress", labels[target], peer, port)

    def allows(self, direction: str, own: Labels, peer: Labels | None, port: int) -> bool:
        """Whether one end allows it: the policies that choose the pod, for this direction."""
        chosen = [one for one in self.policies if _matches(one["podSelector"], own) and direction in one["policyTypes"]]
        if not chosen:
            return True
        key, side = direction.lower(), "from" if direction == "Ingress" else "to"
        return any(
            any(rule_port["port"] == port and rule_port["protocol"] == "TCP" for rule_port in rule["ports"])
            and (side not in rule or any(self._is(one, peer) for one in rule[side]))
            for policy in chosen
            for rule in policy.get(key, [])
        )

    @staticmethod
    def _is(rule: dict[str, Any], peer: Labels | None) -> bool:
        # Another namespace or network is never one of these pods.
        return peer is not None and rule.keys() == {"podSelector"} and _matches(rule["podSelector"], peer)


def _diagram() -> set[tuple[str, str]]:
    """The arrows between processes; who subscribes connects, though the arrow shows the messages' way."""
    drawing = DIAGRAM.read_text().split("```mermaid", 1)[1].split("```", 1)[0]
    arrows = set()
    for source, target in re.findall(r"^\s*([A-Z])\b.*?-->(?:\|[^|]*\|)?\s*([A-Z])\b", drawing, re.MULTILINE):
        arrows.add((PODS[target], PODS[source]) if source == "R" else (PODS[source], PODS[target]))
    assert len(arrows) >= 9
    return arrows


def test_policies_allow_exactly_the_diagrams_arrows(local: Manifests) -> None:
    """With everything in the cluster: each arrow, nothing more, and nothing to or from a stranger."""
    network = Network(local)
    allowed = {
        (source, target)
        for source in (*network.pods, "outside")
        for target in network.pods
        for port in PORTS[target]
        if source != target and network.reaches(source, target, port)
    }
    # nginx is open to the world: so to every pod that may call out at all, and none of ours may.
    assert allowed == _diagram()


def test_each_end_allows_no_more_than_the_arrows(local: Manifests) -> None:
    """A connection needs both ends: neither one leans on the other one's strictness."""
    network, arrows = Network(local), _diagram()
    pods = network.pods
    for source, target in ((source, target) for source in pods for target in pods if source != target):
        for port in PORTS[target]:
            is_arrow = (source, target) in arrows and PUBLIC.get(target) == port
            assert network.allows("Egress", pods[source], pods[target], port) == is_arrow, (source, target, port)
            # nginx is open to the world, this namespace included.
            is_let_in = is_arrow or target == "nginx"
            assert network.allows("Ingress", pods[target], pods[source], port) == is_let_in, (source, target, port)


def test_whoever_has_no_policy_is_alone(local: Manifests) -> None:
    """Every pod of the namespace is denied both ways, whatever is put there later."""
    deny = local.find("NetworkPolicy", "deny-all")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_internal_ports_are_closed_to_every_pod(local: Manifests) -> None:
    """Metrics and the drain are Prometheus' and people's: not even nginx reaches them."""
    network = Network(local)
    for target, ports in PORTS.items():
        for port in set(ports) - {PUBLIC.get(target)}:
            assert not [one for one in (*network.pods, "outside") if network.reaches(one, target, port)]


def test_prometheus_reaches_what_is_scraped(local: Manifests, production: Manifests) -> None:
    """From its own namespace, and just the ports that PodMonitors name."""
    for monitor in production.of("PodMonitor"):
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        server = production.server(monitor["metadata"]["name"])
        ports = {port["name"]: port["containerPort"] for port in server.spec["ports"]}
        policy = local.find("NetworkPolicy", monitor["metadata"]["name"])
        rules = [rule for rule in policy["spec"]["ingress"] if "namespaceSelector" in rule["from"][0]]
        assert [rule["ports"][0]["port"] for rule in rules] == [ports[endpoint["port"]]]


@pytest.mark.parametrize("overlay", ["staging", "production"])
def test_managed_stores_are_networks(tree: Tree, overlay: str) -> None:
    """Where Redis and PostgreSQL are outside, the services reach their networks and no pods in their place."""
    manifests = tree.render(f"overlays/{overlay}")
    wanted = {"http-api": {5432, 6379}, "ws-gateway": {5432, 6379}, "notifier": {5432, 6379}, "migrate": {5432},
              "publishers": {6379}}  # fmt: skip
    for name, ports in wanted.items():
        rules = manifests.find("NetworkPolicy", name)["spec"]["egress"]
        assert {rule["ports"][0]["port"] for rule in rules} == ports
        assert all(rule["to"][0].keys() == {"ipBlock"} and len(rule["to"]) == 1 for rule in rules), name
    networks = {
        rule["ports"][0]["port"]: rule["to"][0]["ipBlock"]["cidr"]
        for rule in manifests.find("NetworkPolicy", "http-api")["spec"]["egress"]
    }
    assert len(set(networks.values())) == 2
