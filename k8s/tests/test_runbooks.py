"""What the runbooks name is there, and what they tell to type is shell."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from clarion.namespaces import config_load

from .commands import blocks, commands, known_objects, loops, objects
from .manifests import ROOT, Manifests

RUNBOOKS: Final = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
PAGES: Final = [*RUNBOOKS, ROOT / "k8s" / "README.md", *sorted((ROOT / "k8s").glob("components/*/README.md"))]
DEPLOYING: Final = [ROOT / "docs" / "runbooks" / name for name in ("first-deployment.md", "rollout.md")]
COMMANDS: Final = {"migrate", "showmigrations", "createsuperuser"} | {
    path.stem for path in ROOT.glob("services/http-api/src/http_api/*/management/commands/*.py")
}
OTHERS: Final = {"cert-manager", "kube-system", "monitoring"}
"""Namespaces that are not ours."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@each_page
def test_blocks_are_shell(page: Path) -> None:
    """Each can be pasted as it is: bash reads it to its end."""
    for block in blocks(page):
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, timeout=20, check=False)
        assert (done.returncode, done.stderr) == (0, ""), f"{done.stderr}{block}"


@each_page
def test_objects_exist(page: Path, production: Manifests, local: Manifests) -> None:
    """What kubectl is told of is there after an apply, under that kind and name; a pod by its owner's."""
    known = known_objects(production, local)
    servers = {name for kind, name in known if kind in ("Deployment", "StatefulSet")}
    wrong = []
    for command in commands(page):
        named = [*objects(command), *(("Deployment", name) for name in loops(command))]
        for kind, name in named:
            is_pod = kind == "Pod" and any(name.startswith(f"{server}-") for server in servers)
            if name and "$" not in name and "…" not in name.removeprefix("ws-gateway-") and not is_pod:
                wrong += [] if (kind, name) in known else [f"{kind}/{name}: {command}"]
    assert wrong == []


@each_page
def test_names_exist(page: Path, production: Manifests, local: Manifests) -> None:
    """Labels, namespaces, Secrets, variables and management commands: none fails at night for its name."""
    text, known = page.read_text(), known_objects(production, local)
    names = {name for _, name in known}
    selected = re.findall(r"app\.kubernetes\.io/name=([a-z-]+)", text)
    for listed in re.findall(r"app\.kubernetes\.io/name in \(([^)]+)\)", text):
        selected += listed.split(", ")
    wrong = {name for name in selected if name not in names}
    namespaces = {name for kind, name in known if kind == "Namespace"} | OTHERS
    wrong |= set(re.findall(r"\bkubectl -n (\S+)", text)) - namespaces
    wrong |= set(re.findall(r"`(clarion-[a-z]+|redis-users|postgres-password)`", text)) - names
    environment = (ROOT / "docs" / "reference" / "environment.md").read_text()
    variable = re.compile(r"\b(?:CLARION_[A-Z_]+[A-Z]|DATABASE_URL)\b")
    wrong |= set(variable.findall(text)) - set(variable.findall(environment))
    wrong |= set(re.findall(r"python -m http_api (\w+)", text)) - COMMANDS
    assert wrong == set()


@each_page
def test_paths_exist(page: Path) -> None:
    """A path of the checkout leads to something, in the root or, if it starts there, in ``k8s/``."""
    wrong = []
    for command in commands(page):
        for folder, path in re.findall(r"(?<![\w/$.:@-])(k8s|deploy|docs|services|libs|tests)(/[\w./-]*\w)", command):
            wrong += [] if (ROOT / f"{folder}{path}").exists() else [f"{folder}{path}"]
        for path in re.findall(r"(?<![\w/$.:@-])((?:base|components|overlays)/[\w./-]*\w)", command):
            wrong += [] if (ROOT / "k8s" / path).exists() else [path]
    assert wrong == []


def test_what_has_to_be_installed_is_named() -> None:
    """secrets.md says what its commands call on the machine where they are typed."""
    page = ROOT / "docs" / "runbooks" / "secrets.md"
    called = set(re.findall(r"\b(jq|openssl|psql|redis-cli) ", "\n".join(blocks(page))))
    assert called <= set(commands(page))


@pytest.mark.parametrize("page", DEPLOYING, ids=lambda page: page.name)
def test_deploying_ends_with_the_smoke_test(page: Path, production: Manifests) -> None:
    """Behind the last pod's start, at the origin that the overlay has."""
    text = "\n".join(blocks(page))
    done = text.index("rollout status")
    url = production.find("ConfigMap", "clarion-env")["data"]["CLARION_PUBLIC_URL"]
    assert text.index(f"deploy/scripts/smoke.sh {url}") > done > text.index("kubectl apply -k")
    assert "CLARION_API_KEY=$KEY deploy/scripts/smoke.sh" in text


def test_the_smoke_tests_key_has_the_scopes_that_it_says() -> None:
    """The first deployment makes it, and no mightier one is kept for rollouts."""
    needed = re.findall(r"a key with the scopes (.+?)\"", (ROOT / "deploy" / "scripts" / "smoke.py").read_text())
    made = re.findall(r"\nKEY=.* api_key_create --name smoke --scopes ([\w,]+)\)\n", DEPLOYING[0].read_text())
    assert made == [needed[0].replace(" and ", ", ").replace(", ", ",")]


def test_the_base_has_what_the_smoke_test_needs() -> None:
    """Its default namespace keeps a history and presence."""
    config = config_load(ROOT / "k8s" / "base" / "clarion.toml")
    chat = next(namespace for namespace in config.channel.namespaces if namespace.name == "chat")
    assert (chat.has_history, chat.presence, chat.force_recovery) == (True, True, True)


URLS: Final = (
    "rediss://clarion:o%2Fld@redis-1.example:6379?ssl_ca_certs=/run/secrets/ca.pem,rediss://redis-2.example/0",
    "postgres://clarion:old@postgres.example:5432/clarion?sslmode=verify-full&sslrootcert=/run/secrets/ca.pem",
    "redis://:old@redis:6379",
)


def bash(script: str, before: str = "", **env: str) -> str:
    """What a script prints, with the functions of secrets.md, and those of ``before`` in their place."""
    functions = next(block for block in blocks(ROOT / "docs" / "runbooks" / "secrets.md") if "secret_set()" in block)
    command = ["bash", "-euo", "pipefail", "-c", f"{functions}{before}{script}"]
    return subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, timeout=20, check=True
    ).stdout


def test_a_new_password_changes_nothing_else_of_a_url() -> None:
    """Scheme, host and query of each URL survive; user and password are percent-encoded."""
    changed = [bash('printf %s "$URL" | url_user "a b" "p/w@"', URL=url) for url in URLS]
    so = "a%20b:p%2Fw%40@"
    assert changed == [
        f"rediss://{so}redis-1.example:6379?ssl_ca_certs=/run/secrets/ca.pem,rediss://{so}redis-2.example/0\n",
        f"postgres://{so}postgres.example:5432/clarion?sslmode=verify-full&sslrootcert=/run/secrets/ca.pem\n",
        f"redis://{so}redis:6379\n",
    ]


def test_a_new_shard_has_all_but_the_host_of_the_first() -> None:
    """By the commands of redis-shard.md: the list of before, and the new server at its end, with TLS as the first."""
    page = blocks(ROOT / "docs" / "runbooks" / "redis-shard.md")
    block = next(block for block in page if "secret_set" in block)  # the others are for shards in the cluster
    before = 'kubectl() { :; }; secret_get() { printf %s "$URL"; }; secret_set() { printf "%s " "$@"; }\n'
    host = re.findall(r"for host in (\S+); do", block)[0]
    made = [bash(block, before, URL=url) for url in (URLS[0], URLS[2])]
    assert made == [
        f"CLARION_REDIS_URL {URLS[0]},rediss://clarion:o%2Fld@{host}?ssl_ca_certs=/run/secrets/ca.pem ",
        f"CLARION_REDIS_URL {URLS[2]},redis://:old@{host} ",
    ]


def test_every_alert_is_told_of_or_explains_itself(production: Manifests) -> None:
    """An alert that a runbook names exists under that name; tests/deploy/test_monitoring.py sees the other way."""
    rules = production.find("PrometheusRule", "clarion")["spec"]["groups"]
    alerts = {rule["alert"] for group in rules for rule in group["rules"]}
    named = {name for page in RUNBOOKS for name in re.findall(r"`(Clarion[A-Z]\w+)`", page.read_text())}
    assert named
    assert named <= alerts
