"""The alerts: Prometheus takes them, and they fire when they should. tests/deploy/test_monitoring.py has the rest."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from .manifests import ROOT, Manifests

METRICS: Final = ROOT / "docs" / "reference" / "metrics.md"


@pytest.fixture(scope="session")
def rules(production: Manifests) -> dict[str, Any]:
    """The groups, as Prometheus' own rule file has them."""
    spec: dict[str, Any] = production.find("PrometheusRule", "clarion")["spec"]
    return spec


def _alerts(rules: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in rules["groups"] for rule in group["rules"]]


def _promtool(*words: str | Path) -> None:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules(rules: dict[str, Any], tmp_path: Path) -> None:
    """As `promtool check rules` reads them."""
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rules))
    _promtool("check", "rules", file)


def test_alerts_fire_when_they_should(rules: dict[str, Any], tmp_path: Path) -> None:
    """Series of made-up fleets, and the alerts that they have to bring or not (alerts.yaml)."""
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    shutil.copy(Path(__file__).with_name("alerts.yaml"), tmp_path)
    _promtool("test", "rules", tmp_path / "alerts.yaml")


def test_alerts_and_autoscalers_ask_for_numbers_that_exist(production: Manifests, rules: dict[str, Any]) -> None:
    """Every number of ours is in the reference of metrics, under the same name."""
    (scaler,) = production.of("ScaledObject")
    queries = [alert["expr"] for alert in _alerts(rules)] + [scaler["spec"]["triggers"][0]["metadata"]["query"]]
    asked = {name for query in queries for name in re.findall(r"\bclarion_\w+?(?=_bucket\b|\b)", query)}
    known = set(re.findall(r"\bclarion_\w+", METRICS.read_text()))
    assert len(asked) >= 6
    assert asked <= known


def test_the_autoscaler_counts_its_own_namespace(production: Manifests) -> None:
    """Staging's connections bring no gateway to production."""
    (scaler,) = production.of("ScaledObject")
    namespace = scaler["metadata"]["namespace"]
    assert f'{{namespace="{namespace}"}}' in scaler["spec"]["triggers"][0]["metadata"]["query"]
    threshold = int(scaler["spec"]["triggers"][0]["metadata"]["threshold"])
    assert threshold <= 0.7 * int(production.server("ws-gateway").variables["CLARION_CONNECTIONS_MAX"] or 0)
