"""deploy/prometheus and deploy/grafana: well-formed, and of metrics that are there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
METRICS: Final = ROOT / "docs" / "reference" / "metrics.md"
RULES: Final = ROOT / "deploy" / "prometheus" / "rules.yml"
DASHBOARDS: Final = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))

_METRIC: Final = re.compile(r"\bclarion_[a-z_]+")
_SUFFIX: Final = re.compile(r"_(?:total|bucket|sum|count)$")


def expressions(dashboard: Path) -> list[str]:
    """What a dashboard asks Prometheus."""
    panels = json.loads(dashboard.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


@pytest.mark.skipif(not METRICS.exists(), reason="the services do not document metrics yet")
def test_metrics_exist() -> None:
    """Every metric of ours that a dashboard or an alert names is one that the code shows."""
    sources = [*ROOT.glob("libs/*/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")]
    shown = {name for path in sources for name in re.findall(r'"(clarion_[a-z_]+)"', path.read_text())}
    assert shown
    rules = re.findall(r"expr: (.*)", RULES.read_text())
    asked = [*rules, *(each for dashboard in DASHBOARDS for each in expressions(dashboard))]
    named = {_SUFFIX.sub("", name) for each in asked for name in _METRIC.findall(each)}
    assert named
    assert named - shown == set()


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboard_is_well_formed(dashboard: Path) -> None:
    """Panels have numbers of their own, places that do not overlap, and the provisioned data source."""
    panels = json.loads(dashboard.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
    source = (ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text()
    for panel in panels:
        assert f"uid: {panel['datasource']['uid']}\n" in source


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not on this machine")
def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    """promtool finds nothing wrong with the rules and the configuration."""
    shutil.copy(RULES, tmp_path)
    text = (RULES.parent / "prometheus.yml").read_text().replace("/etc/prometheus/", "")
    (tmp_path / "prometheus.yml").write_text(text)
    for what in (["rules", "rules.yml"], ["config", "prometheus.yml"]):
        done = subprocess.run(
            ["promtool", "check", *what], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
