"""Every variable is one that the program reads, with a value that it takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import yaml

from .manifests import ROOT, Container, Manifests, Tree

SERVICES: Final = {
    "http-api": "from http_api.env import HttpApiEnv as Env",
    "ws-gateway": "from ws_gateway.env import GatewayEnv as Env",
    "notifier": "from notifier.env import NotifierEnv as Env",
}
SECRETS: Final = {
    "CLARION_SECRET_KEY": "s" * 40,
    "CLARION_TOKEN_SECRET": "t" * 40,
    "DATABASE_URL": "postgres://clarion:x@postgres.example:5432/clarion",
    "CLARION_REDIS_URL": "redis://clarion:x@redis.example:6379",
}
NAMES: Final = (
    "; print(*[field.validation_alias or 'CLARION_' + name.upper() for name, field in Env.model_fields.items()])"
)
OTHERS: Final = {"postgres": {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD_FILE", "PGDATA"}, "redis": set()}
"""Of the official images (their documentation), and nginx's own below."""


def _service(container: Container) -> str:
    return container.spec["image"].rpartition(":")[0].rpartition("/")[2].removeprefix("clarion-")


def _environment(manifests: Manifests, container: Container) -> dict[str, str]:
    """What the process would find, with a pod's name where the downward API gives one."""
    found: dict[str, str] = {}
    for source in container.spec.get("envFrom", []):
        found |= manifests.find("ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in container.spec.get("env", []):
        reference = variable.get("valueFrom", {}).get("configMapKeyRef")
        if reference:
            found[variable["name"]] = manifests.find("ConfigMap", reference["name"])["data"][reference["key"]]
        else:
            found[variable["name"]] = variable.get("value", "pod-1")
    return found


def _python(program: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="session")
def known() -> dict[str, set[str]]:
    """The variables that each program reads."""
    names = {service: set(_python(load + NAMES, SECRETS | {"CLARION_PUBLIC_URL": "https://x.example"}).stdout.split())
             for service, load in SERVICES.items()}  # fmt: skip
    assert all("CLARION_PUBLIC_URL" in found for found in names.values()), names
    script = (ROOT / "deploy" / "nginx" / "variables.envsh").read_text()
    nginx = set(re.findall(r'^: "\$\{(CLARION_\w+):=', script, re.MULTILINE))
    assert len(nginx) > 8
    return {**names, "nginx": {*nginx, "NAMESPACE"}, **OTHERS}  # NAMESPACE: what the others are made of


def test_every_variable_is_read(manifests: Manifests, known: dict[str, set[str]]) -> None:
    """A name that no program knows is a setting that someone believes in."""
    wrong = [
        f"{container}: {name}"
        for container in manifests.containers
        for name in _environment(manifests, container)
        if name not in known[_service(container)]
    ]
    assert not wrong, "\n".join(wrong)


def test_every_secret_is_read(local: Manifests, known: dict[str, set[str]], tree: Tree) -> None:
    """The local overlay's Secret, as the documented ones, holds variables of all three services and nothing else."""
    made = set(local.find("Secret", "clarion-secrets")["data"])
    assert made == SECRETS.keys()
    assert made <= set.intersection(*(known[service] for service in SERVICES))


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("overlay", ["local", "staging", "production"])
def test_the_services_take_their_environment(tree: Tree, overlay: str, service: str, tmp_path: Path) -> None:
    """Each starts on it, clarion.toml included; the local overlay's secrets are good enough for production."""
    manifests = tree.render(f"overlays/{overlay}")
    env = _environment(manifests, manifests.server(service))
    assert env["CLARION_ENVIRONMENT"] == "production"
    mounts = {mount["name"]: mount["mountPath"] for mount in manifests.server(service).spec["volumeMounts"]}
    assert env["CLARION_CONFIG"] == f"{mounts['config']}/clarion.toml"
    assert mounts["secrets"] == "/run/secrets"
    config = tmp_path / "clarion.toml"
    config.write_text(manifests.find("ConfigMap", "clarion-config")["data"]["clarion.toml"])
    secrets = SECRETS
    if overlay == "local":
        lines = (tree.secrets / "clarion.env").read_text().splitlines()
        secrets = dict(line.split("=", 1) for line in lines)
    done = _python(SERVICES[service], env | secrets | {"CLARION_CONFIG": str(config)})
    assert (done.returncode, done.stderr) == (0, "")


def test_nginx_takes_its_environment(manifests: Manifests, tmp_path: Path) -> None:
    """As the image's entrypoint reads it; names are full, because nginx knows no search domains."""
    env = _environment(manifests, manifests.server("nginx"))
    env["CLARION_PUBLIC_URL"] = env.get("CLARION_PUBLIC_URL", "https://x.example")
    for name in ("CLARION_NGINX_HTTP_API", "CLARION_NGINX_GATEWAY"):
        service, rest = env[name].split(".", 1)
        assert rest.startswith("$(NAMESPACE).svc.cluster.local:")
        port = manifests.find("Service", service)["spec"]["ports"][0]["port"]
        assert env[name].endswith(f":{port}")
        env[name] = env[name].replace("$(NAMESPACE)", "clarion")
    script = f'. {ROOT}/deploy/nginx/variables.envsh && echo "$CLARION_NGINX_GATEWAY_SERVERS"'
    env |= {
        "PATH": os.environ["PATH"],
        "NGINX_LOCAL_RESOLVERS": "10.0.0.10",
        "NGINX_ENVSUBST_OUTPUT_DIR": str(tmp_path),
    }
    done = subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("server ws-gateway.clarion.svc.cluster.local:8001 resolve max_conns=10000 ")


def test_probes_ask_where_the_program_listens(manifests: Manifests) -> None:
    """The ports that the variables say are the ports of the container, and probes use their names."""
    gateway, notifier, http_api = map(manifests.server, ("ws-gateway", "notifier", "http-api"))
    ports = {
        str(one): {port["name"]: port["containerPort"] for port in one.spec["ports"]}
        for one in manifests.containers
        if "ports" in one.spec
    }
    assert ports[str(gateway)] == {
        "http": int((gateway.variables["CLARION_GATEWAY_BIND"] or "").rpartition(":")[2]),
        "internal": int(gateway.variables["CLARION_INTERNAL_PORT"] or 0),
    }
    assert ports[str(notifier)]["internal"] == int(notifier.variables["CLARION_INTERNAL_PORT"] or 0)
    assert ports[str(http_api)] == {
        "http": int((http_api.variables["CLARION_HTTP_BIND"] or "").rpartition(":")[2]),
        "internal": int(http_api.variables["CLARION_INTERNAL_PORT"] or 0),
    }
    for container in manifests.containers:
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container.spec.get(name, {}).get("httpGet", {}).get("port")
            assert asked is None or asked in ports[str(container)], f"{container}: {name}"
    for service in manifests.of("Service"):
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in ports[str(manifests.server(service["metadata"]["name"]))]


def test_the_lab_and_development_are_off(manifests: Manifests) -> None:
    """Nothing in a cluster runs as on a developer's machine."""
    text = yaml.safe_dump_all(manifests.objects)
    assert "CLARION_LAB" not in text
    assert "CLARION_ENVIRONMENT: development" not in text
