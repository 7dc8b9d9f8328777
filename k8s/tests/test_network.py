"""Who may reach whom: worked out from the NetworkPolicies as Kubernetes does, compared with the diagram.

Between known pods, by the ports that they have; test_network_rules.py holds each rule against a list.
"""

from __future__ import annotations

import copy
import ipaddress
import re
from typing import Any, Final

import pytest

from .manifests import ROOT, Manifests, Tree, labels_of, patches_of

Labels = dict[str, str]

DIAGRAM: Final = ROOT / "docs" / "explanation" / "architecture.md"
PODS: Final = {
    "B": "outside", "S": "publisher", "N": "nginx", "H": "http-api", "G": "ws-gateway", "W": "notifier",
    "M": "migrate", "P": "postgres", "R": "redis",
}  # fmt: skip
"""The diagram's letters."""

PORTS: Final = {
    "nginx": [8080], "http-api": [8000, 9101], "ws-gateway": [8001, 9102], "notifier": [9103], "migrate": [],
    "redis": [6379], "postgres": [5432], "publisher": [], "stranger": [],
}  # fmt: skip
PUBLIC: Final = {"nginx": 8080, "http-api": 8000, "ws-gateway": 8001, "redis": 6379, "postgres": 5432}
"""The port of an arrow; the others are internal."""
PROMETHEUS: Final = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
SCRAPED: Final = {("http-api", 9101), ("ws-gateway", 9102), ("notifier", 9103)}
MANAGED: Final = {
    ("http-api", 5432), ("http-api", 6379), ("ws-gateway", 5432), ("ws-gateway", 6379), ("notifier", 5432),
    ("notifier", 6379), ("migrate", 5432), ("publishers", 6379),
}  # fmt: skip
"""Policies whose stores may be networks outside: each a /16 or narrower."""


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
        self.policies = {one["metadata"]["name"]: one["spec"] for one in manifests.of("NetworkPolicy")}
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
        chosen = {
            name: policy
            for name, policy in self.policies.items()
            if _matches(policy["podSelector"], own) and direction in policy["policyTypes"]
        }
        if not chosen:
            return True
        key, side = direction.lower(), "from" if direction == "Ingress" else "to"
        return any(
            _is_open(rule, port)
            and (not rule.get(side) or any(self._is(one, peer, direction, (name, port)) for one in rule[side]))
            for name, policy in chosen.items()
            for rule in policy.get(key, [])
        )

    @staticmethod
    def _is(rule: dict[str, Any], peer: Labels | None, direction: str, at: tuple[str, int]) -> bool:
        if rule.keys() == {"podSelector"}:
            return peer is not None and _matches(rule["podSelector"], peer)
        # Another namespace or network: those that are meant are none of these pods, any other one could be everybody.
        is_meant = at in SCRAPED and rule == PROMETHEUS if direction == "Ingress" else at in MANAGED and _is_store(rule)
        return not is_meant


def _is_open(rule: dict[str, Any], port: int) -> bool:
    """Whether a rule is about this port; one that names no ports is about all."""
    ports = rule.get("ports") or [{"protocol": "TCP", "port": port}]
    assert all(one.keys() == {"protocol", "port"} and isinstance(one["port"], int) for one in ports), rule
    return {"protocol": "TCP", "port": port} in ports


def _is_store(rule: dict[str, Any]) -> bool:
    """Whether a peer is a network that could be a managed store's, not the world."""
    return rule.keys() == {"ipBlock"} and ipaddress.ip_network(rule["ipBlock"]["cidr"]).prefixlen >= 16


def _diagram() -> set[tuple[str, str]]:
    """The arrows between processes; who subscribes connects, though the arrow shows the messages' way."""
    drawing = DIAGRAM.read_text().split("```mermaid", 1)[1].split("```", 1)[0]
    arrows = set()
    for source, target in re.findall(r"^\s*([A-Z])\b.*?-->(?:\|[^|]*\|)?\s*([A-Z])\b", drawing, re.MULTILINE):
        arrows.add((PODS[target], PODS[source]) if source == "R" else (PODS[source], PODS[target]))
    assert len(arrows) >= 9
    return arrows


def test_policies_allow_exactly_the_diagrams_arrows(overlay: Manifests) -> None:
    """Each arrow between what is in the cluster, nothing more, and nothing to or from a stranger."""
    network = Network(overlay)
    allowed = {
        (source, target)
        for source in (*network.pods, "outside")
        for target in network.pods
        for port in PORTS[target]
        if source != target and network.reaches(source, target, port)
    }
    # nginx is open to the world: so to every pod that may call out at all, and none of ours may.
    inside = {"outside", *network.pods}
    assert allowed == {arrow for arrow in _diagram() if inside.issuperset(arrow)}


@pytest.mark.parametrize(
    "peer",
    [
        {"namespaceSelector": {}},
        {"namespaceSelector": {}, "podSelector": {}},
        {"ipBlock": {"cidr": "0.0.0.0/0"}},
        PROMETHEUS,
    ],
)
def test_a_peer_that_nobody_named_is_everybody(local: Manifests, peer: dict[str, Any]) -> None:
    """A policy that opens Redis to other namespaces or networks is seen, whatever labels or addresses are there."""
    opened = Manifests("opened", copy.deepcopy(local.objects))
    opened.find("NetworkPolicy", "redis")["spec"]["ingress"][0]["from"].append(peer)
    assert not Network(local).reaches("outside", "redis", 6379)
    assert Network(opened).reaches("outside", "redis", 6379)


def test_the_world_is_no_store(production: Manifests) -> None:
    """An egress to every address is seen, where one to a managed store's network is meant."""
    opened = Manifests("opened", copy.deepcopy(production.objects))
    to = opened.find("NetworkPolicy", "http-api")["spec"]["egress"][0]["to"]
    own, stranger = Network(opened).pods["http-api"], Network(opened).pods["stranger"]
    assert not Network(opened).allows("Egress", own, stranger, 5432)
    to[0]["ipBlock"]["cidr"] = "0.0.0.0/0"
    assert Network(opened).allows("Egress", own, stranger, 5432)


def test_the_way_in_can_be_narrowed(tree: Tree) -> None:
    """The patches of the ingress' README: nginx is reached from one namespace, and believes one network."""
    patches = patches_of("k8s/components/ingress/README.md")
    narrowed = tree.with_components("ingress", "network-policies", patches=patches)
    (rule,) = narrowed.find("NetworkPolicy", "nginx")["spec"]["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}]
    assert narrowed.server("nginx").variables["CLARION_TRUSTED_PROXIES"] == "10.20.0.0/16"


def test_each_end_allows_no_more_than_the_arrows(overlay: Manifests) -> None:
    """A connection needs both ends: neither one leans on the other one's strictness."""
    network, arrows = Network(overlay), _diagram()
    pods = network.pods
    for source, target in ((source, target) for source in pods for target in pods if source != target):
        for port in PORTS[target]:
            is_arrow = (source, target) in arrows and PUBLIC.get(target) == port
            assert network.allows("Egress", pods[source], pods[target], port) == is_arrow, (source, target, port)
            # nginx is open to the world, this namespace included.
            is_let_in = is_arrow or target == "nginx"
            assert network.allows("Ingress", pods[target], pods[source], port) == is_let_in, (source, target, port)


def test_whoever_has_no_policy_is_alone(overlay: Manifests) -> None:
    """In every overlay, every pod of the namespace is denied both ways, whatever is put there later."""
    deny = overlay.find("NetworkPolicy", "deny-all")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_internal_ports_are_closed_to_every_pod(overlay: Manifests) -> None:
    """Metrics and the drain are Prometheus' and people's: not even nginx reaches them."""
    network = Network(overlay)
    for target in network.pods:
        for port in set(PORTS[target]) - {PUBLIC.get(target)}:
            assert not [one for one in (*network.pods, "outside") if network.reaches(one, target, port)]


def test_prometheus_reaches_what_is_scraped(local: Manifests, production: Manifests) -> None:
    """From its own namespace, and just the ports that PodMonitors name."""
    assert {name for name, _ in SCRAPED} == {one["metadata"]["name"] for one in production.of("PodMonitor")}
    for monitor in production.of("PodMonitor"):
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        server = production.server(monitor["metadata"]["name"])
        ports = {port["name"]: port["containerPort"] for port in server.spec["ports"]}
        policy = local.find("NetworkPolicy", monitor["metadata"]["name"])
        rules = [rule for rule in policy["spec"]["ingress"] if rule["from"] == [PROMETHEUS]]
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
