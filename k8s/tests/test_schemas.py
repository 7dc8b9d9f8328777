"""What is rendered is what Kubernetes' API takes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Final

import kubernetes_validate
import pytest

from .manifests import Manifests, name_of, pod_of

API_VERSIONS: Final = ("1.33", "1.37")
"""The oldest that is still maintained somewhere, and the newest: what stands between has no field fewer."""

CUSTOM: Final = {
    "Certificate", "Issuer", "Gateway", "HTTPRoute", "PodMonitor", "PrometheusRule", "ScaledObject",
}  # fmt: skip
"""Kinds of others' operators, of which Kubernetes has no schema."""


@pytest.mark.parametrize("version", API_VERSIONS)
def test_every_object_is_valid(manifests: Manifests, version: str) -> None:
    """As `kubernetes-validate --strict` sees it: no unknown field, none of a wrong type, none missing."""
    problems = [_problem(json.dumps(one), version) for one in manifests.objects if one["kind"] not in CUSTOM]
    assert not any(problems), "\n".join(filter(None, problems))


@cache
def _problem(document: str, version: str) -> str:
    """What is wrong with an object; cached, because most of a rendering is in all of them."""
    one = json.loads(document)
    try:
        kubernetes_validate.validate(one, version, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as exc:
        return f"{name_of(one)}: {exc}"
    return ""


def test_custom_resources_are_named(manifests: Manifests) -> None:
    """Only what stands in the list is exempt: a misspelled kind of Kubernetes' own is not."""
    own = ("v1", "apps/", "batch/", "autoscaling/", "policy/", "networking.k8s.io/", "scheduling.k8s.io/")
    custom = {one["kind"] for one in manifests.objects if not one["apiVersion"].startswith(own)}
    assert custom <= CUSTOM


def test_no_name_is_given_twice(manifests: Manifests) -> None:
    """One object of a kind and name, all in one namespace."""
    names = Counter(name_of(one) for one in manifests.objects)
    assert [name for name, count in names.items() if count > 1] == []
    assert len({one["metadata"].get("namespace") for one in manifests.objects} - {None}) == 1


def test_every_reference_leads_somewhere(manifests: Manifests) -> None:
    """ConfigMaps, Secrets and accounts that a pod names are rendered with it, or are a deployer's Secrets."""
    given = {name_of(one) for one in manifests.objects}
    outside = {"Secret/clarion-secrets", "Secret/postgres-password", "Secret/redis-users"}
    if manifests.name == "overlays/local":
        outside = set()
    missing = [f"{owner}: {name}" for owner, name in _references(manifests) if name not in given | outside]
    assert missing == []


def _references(manifests: Manifests) -> Iterator[tuple[str, str]]:
    for container in manifests.containers:
        for source in container.spec.get("envFrom", []):
            yield str(container), f"ConfigMap/{source['configMapRef']['name']}"
        for variable in container.spec.get("env", []):
            if reference := variable.get("valueFrom", {}).get("configMapKeyRef"):
                yield str(container), f"ConfigMap/{reference['name']}"
    for one in manifests.of("Deployment", "StatefulSet", "Job"):
        pod = pod_of(one)
        yield name_of(one), f"ServiceAccount/{pod['serviceAccountName']}"
        for volume in pod.get("volumes", []):
            if "configMap" in volume:
                yield name_of(one), f"ConfigMap/{volume['configMap']['name']}"
            if "secret" in volume:
                yield name_of(one), f"Secret/{volume['secret']['secretName']}"
