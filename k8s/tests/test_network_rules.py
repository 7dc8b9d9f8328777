"""Every rule of every NetworkPolicy, held against one list: what is not on it is allowed to nobody."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest

from .manifests import Manifests, Object

WORLD: Final = "world"

RULES: Final = """
acme             acme.cert-manager.io/http01-solver=true    in   world                           TCP 8089
dns              every pod                                  out  world                           TCP 53
dns              every pod                                  out  world                           UDP 53
http-api         http-api                                   in   namespace monitoring            TCP 9101
http-api         http-api                                   in   nginx                           TCP 8000
http-api         http-api                                   out  POSTGRES                        TCP 5432
http-api         http-api                                   out  REDIS                           TCP 6379
migrate          migrate                                    out  POSTGRES                        TCP 5432
nginx            nginx                                      in   world                           TCP 8080
nginx            nginx                                      out  http-api                        TCP 8000
nginx            nginx                                      out  ws-gateway                      TCP 8001
notifier         notifier                                   in   namespace monitoring            TCP 9103
notifier         notifier                                   out  POSTGRES                        TCP 5432
notifier         notifier                                   out  REDIS                           TCP 6379
postgres         postgres                                   in   http-api                        TCP 5432
postgres         postgres                                   in   migrate                         TCP 5432
postgres         postgres                                   in   notifier                        TCP 5432
postgres         postgres                                   in   ws-gateway                      TCP 5432
publishers       clarion.dev/publisher=true                 out  REDIS                           TCP 6379
redis            redis                                      in   clarion.dev/publisher=true      TCP 6379
redis            redis                                      in   http-api                        TCP 6379
redis            redis                                      in   notifier                        TCP 6379
redis            redis                                      in   ws-gateway                      TCP 6379
ws-gateway       ws-gateway                                 in   namespace monitoring            TCP 9102
ws-gateway       ws-gateway                                 in   nginx                           TCP 8001
ws-gateway       ws-gateway                                 out  POSTGRES                        TCP 5432
ws-gateway       ws-gateway                                 out  REDIS                           TCP 6379
"""
"""Policy, the pods that it is about, direction, the other end, port. Pods are called by their service's name."""

STORES: Final = {
    "local": {"POSTGRES": "postgres", "REDIS": "redis"},
    "staging": {"POSTGRES": "10.40.0.0/24", "REDIS": "10.40.1.0/24"},
    "production": {"POSTGRES": "10.30.0.0/24", "REDIS": "10.30.1.0/24"},
}
"""Pods in the cluster, or a managed service's network."""

HTTPS: Final = {"protocol": "TCP", "port": 443}

Rule = tuple[str, str, str, str, str]


def _listed(overlay: str) -> Counter[Rule]:
    rules: Counter[Rule] = Counter()
    for line in RULES.strip().splitlines():
        policy, pods, direction, peer, port = (word.strip() for word in line.split("  ") if word.strip())
        rules[policy, pods, direction, STORES[overlay].get(peer, peer), port] += 1
    return rules


def _pods(selector: dict[str, Any]) -> list[str]:
    """Those that a selector chooses, one each, by their service's name or a label; anything else as it stands."""
    labels, expressions = selector.get("matchLabels", {}), selector.get("matchExpressions", [])
    if selector == {}:
        return ["every pod"]
    if selector.keys() == {"matchLabels"} and len(labels) == 1:
        ((key, value),) = labels.items()
        return [value if key == "app.kubernetes.io/name" else f"{key}={value}"]
    if selector.keys() == {"matchExpressions"} and len(expressions) == 1:
        (expression,) = expressions
        if expression.keys() == {"key", "operator", "values"} and expression["operator"] == "In":
            return [
                name for value in expression["values"] for name in _pods({"matchLabels": {expression["key"]: value}})
            ]
    return [repr(selector)]


def _peers(peer: dict[str, Any]) -> list[str]:
    """Who is at the other end; what is not one of the three kinds that the list knows, as it stands."""
    if peer.keys() == {"podSelector"}:
        return _pods(peer["podSelector"])
    if peer.keys() == {"ipBlock"} and peer["ipBlock"].keys() == {"cidr"}:
        return [peer["ipBlock"]["cidr"]]
    if peer.keys() == {"namespaceSelector"}:
        labels = peer["namespaceSelector"].get("matchLabels", {})
        if peer["namespaceSelector"].keys() == {"matchLabels"} and labels.keys() == {"kubernetes.io/metadata.name"}:
            return [f"namespace {labels['kubernetes.io/metadata.name']}"]
    return [repr(peer)]


def _ports(rule: dict[str, Any]) -> list[str]:
    """As ``TCP 80``; a rule without ports is about all of them."""
    return [
        f"{port['protocol']} {port['port']}" if port.keys() == {"protocol", "port"} else repr(port)
        for port in rule.get("ports") or []
    ] or ["every port"]


def _rules(policy: Object) -> Iterator[Rule]:
    name, spec = policy["metadata"]["name"], policy["spec"]
    for direction, key, side in (("in", "ingress", "from"), ("out", "egress", "to")):
        for rule in spec.get(key, []):
            assert rule.keys() <= {side, "ports"}, rule
            for pods in _pods(spec["podSelector"]):
                for peer in [name for one in rule.get(side) or [] for name in _peers(one)] or [WORLD]:
                    yield from ((name, pods, direction, peer, port) for port in _ports(rule))


def _rendered(manifests: Manifests) -> Counter[Rule]:
    return Counter(rule for policy in manifests.of("NetworkPolicy") for rule in _rules(policy))


def _differences(manifests: Manifests) -> list[str]:
    listed, rendered = _listed(manifests.name.rpartition("/")[2]), _rendered(manifests)
    more = [f"not on the list: {'  '.join(rule)}" for rule in rendered - listed]
    return more + [f"on the list alone: {'  '.join(rule)}" for rule in listed - rendered]


def test_every_rule_is_on_the_list(overlay: Manifests) -> None:
    """No policy allows more than the list says, nor less, to peers and ports that no pod of ours has either."""
    assert not _differences(overlay), "\n".join(_differences(overlay))


def test_policies_deny_the_direction_that_they_say_nothing_of(overlay: Manifests) -> None:
    """Those of our pods are about both: a direction that is left out would not be denied."""
    for policy in overlay.of("NetworkPolicy"):
        types, name = set(policy["spec"]["policyTypes"]), policy["metadata"]["name"]
        one_way = {"acme": {"Ingress"}, "dns": {"Egress"}, "publishers": {"Egress"}}
        assert types == one_way.get(name, {"Ingress", "Egress"}), name


@pytest.mark.parametrize(
    ("name", "key", "rule"),
    [
        ("http-api", "egress", {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [HTTPS]}),
        ("ws-gateway", "egress", {"ports": [{"protocol": "TCP", "port": 25}]}),
        ("redis", "ingress", {"ports": [{"protocol": "TCP", "port": 22}]}),
        ("ws-gateway", "ingress", {"from": [], "ports": [{"protocol": "TCP", "port": 9999}]}),
        ("nginx", "egress", {}),
        ("nginx", "egress", {"to": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": 8000}]}),
        ("migrate", "ingress", {"from": [{"namespaceSelector": {}}], "ports": [{"protocol": "TCP", "port": 1}]}),
        ("dns", "egress", {"ports": [{"protocol": "UDP", "port": 53, "endPort": 65535}]}),
    ],
)  # fmt: skip
def test_a_rule_that_nobody_listed_is_seen(local: Manifests, name: str, key: str, rule: dict[str, Any]) -> None:
    """Whatever it opens: a port that nothing listens on today is one that something may listen on tomorrow."""
    opened = Manifests(local.name, copy.deepcopy(local.objects))
    opened.find("NetworkPolicy", name)["spec"].setdefault(key, []).append(rule)
    assert len(_differences(opened)) == 1


def test_a_policy_about_more_pods_is_seen(local: Manifests) -> None:
    """One that is for another service's pods, too, or for all."""
    for selector in ({}, {"matchLabels": {"app.kubernetes.io/part-of": "clarion"}}):
        opened = Manifests(local.name, copy.deepcopy(local.objects))
        opened.find("NetworkPolicy", "redis")["spec"]["podSelector"] = selector
        assert _differences(opened)
