"""The rules that every object keeps, in every overlay and with every component."""

from __future__ import annotations

import re
import tomllib
from typing import Any, Final

import pytest

from .manifests import ROOT, Manifests, Tree, bytes_of, labels_of, name_of, patches_of, pod_of

MANY: Final = ("HorizontalPodAutoscaler", "ScaledObject")


def _must(wrong: list[str]) -> None:
    assert not wrong, "\n".join(wrong)


def test_containers_ask_for_what_they_need_and_no_more(manifests: Manifests) -> None:
    """CPU and memory are requested; the memory limit is the request, and CPU has none."""
    wrong = []
    for container in manifests.containers:
        resources = container.spec.get("resources", {})
        requests, limits = resources.get("requests", {}), resources.get("limits", {})
        if requests.keys() != {"cpu", "memory"} or limits != {"memory": requests["memory"]}:
            wrong.append(f"{container}: {resources}")
    _must(wrong)


def test_servers_have_three_probes(manifests: Manifests) -> None:
    """Startup, liveness and readiness, each with a time limit; what runs to its end has none."""
    wrong = []
    for container in manifests.containers:
        wanted = () if container.owner["kind"] == "Job" else ("startupProbe", "livenessProbe", "readinessProbe")
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container.spec.get(name)
            if (probe is not None) != (name in wanted) or (probe and probe.get("timeoutSeconds", 1) < 3):
                wrong.append(f"{container}: {name} {probe}")
    _must(wrong)


def test_liveness_is_slower_than_readiness_and_never_asks_for_more(manifests: Manifests) -> None:
    """What is not ready gets time to come back before it is killed; and no liveness looks at Redis or a database."""
    wrong = []
    for container in manifests.containers:
        if container.owner["kind"] == "Job":
            continue
        live, ready = container.spec["livenessProbe"], container.spec["readinessProbe"]
        patience = [probe["periodSeconds"] * probe["failureThreshold"] for probe in (live, ready)]
        path = live.get("httpGet", {}).get("path", "")
        if patience[0] < 2 * patience[1] or path.endswith("/ready"):
            wrong.append(f"{container}: {live} {ready}")
    _must(wrong)


def test_pods_keep_the_restricted_standard(manifests: Manifests) -> None:
    """Kubernetes' Pod Security Standard "restricted", and a read-only root beside it."""
    wrong = []
    for one in manifests.of("Deployment", "StatefulSet", "Job"):
        pod = pod_of(one)
        context = pod.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            wrong.append(f"{name_of(one)}: runs as root, or might")
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            wrong.append(f"{name_of(one)}: no seccomp profile")
        if any(pod.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC")):
            wrong.append(f"{name_of(one)}: shares the host's namespaces")
        wrong += [
            f"{name_of(one)}: volume {volume}"
            for volume in pod.get("volumes", [])
            if not volume.keys() & {"configMap", "secret", "emptyDir"}
        ]
    for container in manifests.containers:
        context = container.spec.get("securityContext", {})
        wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        if context != wanted or any("hostPort" in port for port in container.spec.get("ports", [])):
            wrong.append(f"{container}: {context}")
    _must(wrong)


def test_namespaces_enforce_the_restricted_standard(manifests: Manifests) -> None:
    """An overlay's namespace refuses what breaks it, whoever applies it."""
    for namespace in manifests.of("Namespace"):
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert manifests.name.startswith("overlays/with-") == (not manifests.of("Namespace"))


def test_pods_have_no_token_and_no_service_links(manifests: Manifests) -> None:
    """Nothing speaks to Kubernetes' API; a Service's name makes no variable; each workload has its own account."""
    wrong = [name_of(account) for account in manifests.of("ServiceAccount") if account["automountServiceAccountToken"]]
    for one in manifests.of("Deployment", "StatefulSet", "Job"):
        pod = pod_of(one)
        own = pod["serviceAccountName"] == one["metadata"]["name"]
        if (
            not own
            or pod.get("automountServiceAccountToken") is not False
            or pod.get("enableServiceLinks") is not False
        ):
            wrong.append(name_of(one))
    _must(wrong)


def test_images_have_a_version(manifests: Manifests) -> None:
    """No `latest`, said or meant; ours have the project's version, or `dev` where they are built on the spot."""
    version = tomllib.loads((ROOT / "services" / "http-api" / "pyproject.toml").read_text())["project"]["version"]
    ours = "dev" if manifests.name == "overlays/local" else version
    wrong = []
    for container in manifests.containers:
        name, _, tag = container.spec["image"].rpartition(":")
        if not name or tag == "latest" or ("clarion-" in name and tag != ours):
            wrong.append(f"{container}: {container.spec['image']}")
    _must(wrong)


def _replicas(manifests: Manifests, deployment: dict[str, Any]) -> int:
    """The fewest that an autoscaler, or the Deployment itself, keeps."""
    name = deployment["metadata"]["name"]
    for scaler in manifests.of(*MANY):
        if scaler["spec"]["scaleTargetRef"]["name"] == name:
            fewest: int = scaler["spec"].get("minReplicas") or scaler["spec"]["minReplicaCount"]
            return fewest
    return int(deployment["spec"].get("replicas", 1))


def test_deployments_survive_a_node(manifests: Manifests) -> None:
    """Two and more of each; a budget lets one go at a time; they are spread over nodes; they stay while they roll."""
    wrong = []
    for deployment in manifests.of("Deployment"):
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        if _replicas(manifests, deployment) < 2:
            wrong.append(f"{name}: one replica")
        selector = spec["selector"]
        budgets = [one["spec"] for one in manifests.of("PodDisruptionBudget") if one["spec"]["selector"] == selector]
        if [budget.get("maxUnavailable") for budget in budgets] != [1]:
            wrong.append(f"{name}: budgets {budgets}")
        spread = pod_of(deployment).get("topologySpreadConstraints", [])
        if "kubernetes.io/hostname" not in [constraint["topologyKey"] for constraint in spread]:
            wrong.append(f"{name}: not spread over nodes")
        for constraint in spread:
            wanted, labels = constraint["labelSelector"]["matchLabels"].items(), labels_of(deployment)
            if not wanted <= labels.items() or "pod-template-hash" not in constraint["matchLabelKeys"]:
                wrong.append(f"{name}: {constraint}")
        if spec["strategy"]["rollingUpdate"] != {"maxSurge": 1, "maxUnavailable": 0} or not spec["minReadySeconds"]:
            wrong.append(f"{name}: {spec['strategy']}")
    _must(wrong)


def test_each_deployment_has_one_autoscaler(manifests: Manifests) -> None:
    """Two would pull at one number; and the Deployment says none, to which an apply would set it back."""
    for deployment in manifests.of("Deployment"):
        scalers = [
            one
            for one in manifests.of(*MANY)
            if one["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
        ]
        assert len(scalers) == 1, name_of(deployment)
        assert "replicas" not in deployment["spec"], name_of(deployment)


def _behavior(manifests: Manifests) -> dict[str, Any]:
    for scaler in manifests.of(*MANY):
        if scaler["spec"]["scaleTargetRef"]["name"] == "ws-gateway":
            spec = scaler["spec"]
            advanced = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {})
            found: dict[str, Any] = spec.get("behavior") or advanced["behavior"]
            return found
    raise AssertionError("gateways have no autoscaler")


def test_gateways_leave_one_at_a_time(manifests: Manifests) -> None:
    """After ten quiet minutes, and not before the drain of the one before is over."""
    down = _behavior(manifests)["scaleDown"]
    (policy,) = down["policies"]
    grace = pod_of(manifests.find("Deployment", "ws-gateway"))["terminationGracePeriodSeconds"]
    assert down["stabilizationWindowSeconds"] >= 600
    assert (policy["type"], policy["value"]) == ("Pods", 1)
    assert policy["periodSeconds"] > 2 * grace


def test_gateways_hold_what_their_memory_is_for(manifests: Manifests) -> None:
    """9 KiB an idle socket (docs/runbooks/sizing.md), what may wait for slow clients, 100 MiB for the process."""
    gateway = manifests.server("ws-gateway")
    sockets = int(gateway.variables["CLARION_CONNECTIONS_MAX"] or 0)
    waiting = 256 * 2**20  # CLARION_PROCESS_QUEUED_BYTES_MAX, left at its default
    assert "CLARION_PROCESS_QUEUED_BYTES_MAX" not in gateway.variables
    assert bytes_of(gateway.spec["resources"]["limits"]["memory"]) >= sockets * 9 * 1024 + waiting + 100 * 2**20


def test_production_has_three_gateways_over_zones(production: Manifests) -> None:
    """One may leave while another is down; spread over nodes and zones; before others when a node goes."""
    gateways = production.find("Deployment", "ws-gateway")
    assert _replicas(production, gateways) == 3
    keys = [constraint["topologyKey"] for constraint in pod_of(gateways)["topologySpreadConstraints"]]
    assert keys == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    priority = production.find("PriorityClass", "clarion-edge")
    assert pod_of(gateways)["priorityClassName"] == priority["metadata"]["name"]
    assert 0 < priority["value"] < 1_000_000_000


def test_production_holds_no_secret(production: Manifests) -> None:
    """They are the deployer's to bring; nothing in git could be one."""
    assert production.of("Secret") == []
    assert production.of("StatefulSet") == []


def test_a_private_registry_is_named_once(tree: Tree) -> None:
    """The runbook's patch gives every account the registry's Secret, and so every pod."""
    private = tree.with_components("network-policies", patches=patches_of("docs/runbooks/first-deployment.md"))
    for account in private.of("ServiceAccount"):
        assert account["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize("kind", ["Ingress", "Certificate"])
def test_the_host_is_the_public_urls(production: Manifests, kind: str) -> None:
    """The overlay says it once."""
    url = production.find("ConfigMap", "clarion-env")["data"]["CLARION_PUBLIC_URL"]
    (one,) = production.of(kind)
    hosts = one["spec"]["dnsNames"] if kind == "Certificate" else one["spec"]["tls"][0]["hosts"]
    assert [f"https://{host}" for host in hosts] == [url]


def test_a_change_of_configuration_is_a_rollout(local: Manifests) -> None:
    """ConfigMaps and the services' Secret are named by their content, and pods refer to that name."""
    names = {kind: local.find(kind, name)["metadata"]["name"] for kind, name in (
        ("ConfigMap", "clarion-config"), ("ConfigMap", "clarion-env"), ("Secret", "clarion-secrets"),
    )}  # fmt: skip
    assert all(re.search(r"-[a-z0-9]{10}$", name) for name in names.values()), names


def test_nothing_hides_what_an_image_needs(manifests: Manifests) -> None:
    """A volume over a folder of the image takes its files away: gunicorn.conf.py is in /etc/clarion, for one."""
    files = (ROOT / "services" / "http-api" / "Dockerfile").read_text()
    needed = ["/opt/venv", "/opt/clarion", *re.findall(r'CMD \["gunicorn", "-c", "([^"]+)"', files)]
    assert len(needed) == 3
    wrong = [
        f"{container}: {mount['mountPath']}"
        for container in manifests.containers
        for mount in container.spec.get("volumeMounts", [])
        for path in needed
        if f"{path}/".startswith(mount["mountPath"].rstrip("/") + "/")
    ]
    _must(wrong)
