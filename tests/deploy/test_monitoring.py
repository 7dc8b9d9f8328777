"""deploy/prometheus: well-formed, and of metrics that are there, as are those of deploy/grafana."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.dashboards import DASHBOARDS, expressions

ROOT: Final = Path(__file__).resolve().parents[2]
METRICS: Final = ROOT / "docs" / "reference" / "metrics.md"
PROMETHEUS: Final = ROOT / "deploy" / "prometheus" / "prometheus.yml"
RULES: Final = ROOT / "deploy" / "prometheus" / "rules.yml"
KUBERNETES: Final = ROOT / "k8s" / "components" / "monitoring" / "rules.yaml"
TRIED: Final = {
    RULES: ROOT / "tests" / "deploy" / "compose_alerts.yml",
    KUBERNETES: ROOT / "k8s" / "tests" / "alerts.yaml",
}
"""Where promtool tries the alerts of a file; those that both files have, Kubernetes' does."""

SHARED: Final = "clarion-services"
"""The group that both files have."""

_INTERNAL_PORT: Final = re.compile(r"internal_port: int = Field\(default=(\d+)")
_ROUTE: Final = re.compile(r"\bMETRICS(?:: |\] = )metrics_handler\(")
_METRIC: Final = re.compile(r"\bclarion_[a-z_]+")
_SUFFIX: Final = re.compile(r"_(?:total|bucket|sum|count)$")


needs_promtool: Final = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool on this machine")


def promtool(*words: str, folder: Path) -> None:
    """Run promtool in a folder; it finds nothing wrong."""
    done = subprocess.run(["promtool", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not METRICS.exists(), reason="the services do not document metrics yet")
def test_metrics_exist() -> None:
    """Every metric of ours that a dashboard or an alert names is one that the code shows."""
    sources = [*ROOT.glob("libs/*/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")]
    shown = {name for path in sources for name in re.findall(r'"(clarion_[a-z_]+)"', path.read_text())}
    assert shown
    rules = [alert["expr"] for group in groups(RULES).values() for alert in group]
    asked = [*rules, *(each for dashboard in DASHBOARDS for each in expressions(dashboard).values())]
    named = {_SUFFIX.sub("", name) for each in asked for name in _METRIC.findall(each)}
    assert named
    assert named - shown == set()


def groups(rules: Path) -> dict[str, list[dict[str, Any]]]:
    """The alerts of a file, Prometheus' own or the operator's, by their groups' names."""
    document = yaml.safe_load(rules.read_text())
    return {group["name"]: group["rules"] for group in document.get("spec", document)["groups"]}


def test_alerts_on_our_numbers_are_one_text() -> None:
    """Who runs Compose and who runs Kubernetes is told the same, under one name: comments apart, nothing differs."""
    compose, kubernetes = groups(RULES), groups(KUBERNETES)
    assert compose[SHARED] == kubernetes[SHARED]
    assert compose.keys() & kubernetes.keys() == {SHARED}
    shared = {alert["alert"] for alert in compose[SHARED]}
    for name, alerts in [*compose.items(), *kubernetes.items()]:
        if name != SHARED:  # a platform's own: of what Prometheus and the platform say, never of our numbers
            assert not [alert["alert"] for alert in alerts if _METRIC.findall(alert["expr"])]
            assert not shared & {alert["alert"] for alert in alerts}


@pytest.mark.parametrize("rules", TRIED, ids=lambda path: path.name)
def test_each_alert_says_how_urgent_it_is_and_what_to_do(rules: Path) -> None:
    """A severity, two sentences, and a page that exists and names the alert."""
    for alert in (alert for group in groups(rules).values() for alert in group):
        assert alert["labels"].keys() == {"severity"}, alert
        assert alert["labels"]["severity"] in {"page", "ticket"}, alert
        assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}, alert
        assert f"`{alert['alert']}`" in (ROOT / alert["annotations"]["runbook_url"]).read_text(), alert


@pytest.mark.parametrize("rules", TRIED, ids=lambda path: path.name)
def test_each_alert_is_tried_firing_and_not(rules: Path) -> None:
    """promtool's tests have both of each alert: one that cannot fire, or always does, is seen."""
    cases = [case for test in yaml.safe_load(TRIED[rules].read_text())["tests"] for case in test["alert_rule_test"]]
    tried = {(case["alertname"], bool(case["exp_alerts"])) for case in cases}
    named = {
        alert["alert"]
        for name, group in groups(rules).items()
        if rules == KUBERNETES or name != SHARED
        for alert in group
    }
    assert tried == {(name, fires) for name in named for fires in (True, False)}


def compose_services() -> dict[str, Any]:
    """The services of docker-compose.yml."""
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services


def source_of(service: str) -> Path:
    """The folder of a service's code."""
    return ROOT / "services" / service / "src" / service.replace("-", "_")


def has_metrics(service: str) -> bool:
    """Whether a service puts a handler on the route of metrics, of its own making (``def metrics_handler``)."""
    text = "\n".join(path.read_text() for path in source_of(service).rglob("*.py"))
    return bool(_ROUTE.search(text)) and "\ndef metrics_handler(" in text


def test_jobs_are_scraped_where_something_answers() -> None:
    """Every service has the route and a job, is on a network of Prometheus', and listens on that port in its image."""
    services = compose_services()
    jobs = {job["job_name"]: job for job in yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]}
    assert set(jobs) == {path.name for path in (ROOT / "services").iterdir() if has_metrics(path.name)}
    assert set(jobs) == {"http-api", "ws-gateway", "notifier"}
    for name, job in jobs.items():
        (found,) = job["dns_sd_configs"]
        assert found["names"] == [name]
        assert set(services[name]["networks"]) & set(services["prometheus"]["networks"])
        assert _INTERNAL_PORT.findall((source_of(name) / "env.py").read_text()) == [str(found["port"])]
        image = (ROOT / "services" / name / "Dockerfile").read_text()
        assert "CLARION_INTERNAL_HOST=0.0.0.0" in image
        assert f"CLARION_INTERNAL_PORT={found['port']}" in image


def test_grafana_reaches_prometheus_alone() -> None:
    """An internal port takes orders (`POST /drain`): what people sign in to shares no network with one."""
    services = compose_services()
    beside = {name for name, each in services.items() if set(each["networks"]) & set(services["grafana"]["networks"])}
    assert beside == {"grafana", "prometheus"}


def test_alerts_want_what_compose_starts() -> None:
    """The replicas that the rules count are the default ones."""
    services = compose_services()
    for name in ("http-api", "ws-gateway", "notifier"):
        (wanted,) = re.findall(rf'count\(up{{job="{name}"}} == 1\) < (\d+)', RULES.read_text())
        replicas = services[name].get("deploy", {"replicas": "${NONE:-1}"})["replicas"]
        assert replicas.endswith(f":-{wanted}}}"), name


@needs_promtool
def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    """promtool finds nothing wrong with the rules and the configuration."""
    shutil.copy(RULES, tmp_path)
    text = PROMETHEUS.read_text().replace("/etc/prometheus/", "")
    (tmp_path / "prometheus.yml").write_text(text)
    promtool("check", "rules", "rules.yml", folder=tmp_path)
    promtool("check", "config", "prometheus.yml", folder=tmp_path)


@needs_promtool
def test_alerts_of_compose_fire_for_what_is_lost(tmp_path: Path) -> None:
    """A container that is gone, all of a kind, one that hangs; not one that is back."""
    shutil.copy(RULES, tmp_path)
    shutil.copy(TRIED[RULES], tmp_path)
    promtool("test", "rules", TRIED[RULES].name, folder=tmp_path)
