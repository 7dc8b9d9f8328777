"""What the runbooks name is there: objects, variables, alerts, management commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from .manifests import ROOT, Manifests

RUNBOOKS: Final = sorted((ROOT / "docs" / "runbooks").glob("*.md"))
PAGES: Final = [*RUNBOOKS, ROOT / "k8s" / "README.md", *sorted((ROOT / "k8s").glob("components/*/README.md"))]
KINDS: Final = {"deployment": "Deployment", "job": "Job", "service": "Service", "scaledobject": "ScaledObject",
                "certificate": "Certificate", "hpa": "HorizontalPodAutoscaler"}  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_name_what_exists(page: Path, production: Manifests, local: Manifests) -> None:
    """A command that is typed at night must not fail for a name."""
    text = page.read_text()
    known = {(one["kind"], one["metadata"]["name"]) for one in (*production.objects, *local.objects)}
    known.add(("HorizontalPodAutoscaler", "ws-gateway"))  # the base's, where KEDA makes none
    named = {
        (KINDS[kind], name)
        for kind, name in re.findall(rf"\b({'|'.join(KINDS)})[/ ]([a-z][a-z-]+)\b(?=[^\w]|$)", text)
        if not name.startswith("name")
    }
    commands = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    wrong = sorted(f"{kind}/{name}" for kind, name in named - known if f"/{name}" in commands)
    selected = set(re.findall(r"app\.kubernetes\.io/name=([a-z-]+)", text))
    wrong += sorted(selected - {name for _, name in known})
    environment = (ROOT / "docs" / "reference" / "environment.md").read_text()
    wrong += sorted(
        set(re.findall(r"\bCLARION_[A-Z_]+[A-Z]\b", text)) - set(re.findall(r"\bCLARION_[A-Z_]+\b", environment))
    )
    wrong += [
        name for name in re.findall(r"`(clarion-[a-z]+|redis-users|postgres-password)`", text) if name not in SECRETS
    ]
    wrong += [
        f"python -m http_api {name}" for name in re.findall(r"python -m http_api (\w+)", text) if name not in COMMANDS
    ]
    assert wrong == []


SECRETS: Final = {"clarion-secrets", "clarion-tls", "redis-users", "postgres-password", "clarion-edge"}
COMMANDS: Final = {"migrate", "showmigrations", "createsuperuser"} | {
    path.stem for path in ROOT.glob("services/http-api/src/http_api/*/management/commands/*.py")
}


def test_every_alert_is_told_of_or_explains_itself(production: Manifests) -> None:
    """An alert that a runbook names exists under that name; tests/deploy/test_monitoring.py sees the other way."""
    rules = production.find("PrometheusRule", "clarion")["spec"]["groups"]
    alerts = {rule["alert"] for group in rules for rule in group["rules"]}
    named = {name for page in RUNBOOKS for name in re.findall(r"`(Clarion[A-Z]\w+)`", page.read_text())}
    assert named
    assert named <= alerts
