"""Grafana's dashboard, without Grafana: what it would refuse or draw wrongly, and what it says beside the alerts."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.support.dashboards import DASHBOARDS, ROOT, dashboard_read, expressions, panels, shown

RULES: Final = ROOT / "deploy" / "prometheus" / "rules.yml"
METRICS: Final = ROOT / "docs" / "reference" / "metrics.md"
SOURCES: Final = ROOT / "deploy" / "grafana" / "provisioning" / "datasources" / "prometheus.yml"

SCHEMAS: Final = range(39, 42)
"""Grafana 11.0 writes 39, 12.1 (docker-compose.yml) 41; each takes an older one."""

UNITS: Final = {"short", "s", "bytes", "Bps", "percentunit", "cps", "reqps", "bool_on_off"}
"""Ids of Grafana's units (grafana-data/src/valueFormats/categories.ts): one that it does not know is a suffix."""

COLUMNS: Final = 24
WINDOW_MIN_S: Final = 120
"""Four scrapes of Kubernetes' thirty seconds (k8s/components/monitoring): over fewer a rate has gaps."""

LEAST: Final = 0.001
"""A step begins at its value: this is where "more than none" begins."""

_ALERT: Final = re.compile(r"\bClarion[A-Z]\w+")
_PAGE: Final = re.compile(r"\bdocs/[\w/-]+\.md\b")
_COMPARED: Final = re.compile(r"(?:>|==) ([\d.]+)")
_WINDOW: Final = re.compile(r"\[(\d+)m\]")

each_dashboard: Final = pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)


def alerts() -> dict[str, str]:
    """The expressions of Compose's alerts, by name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def reds(panel: dict[str, Any]) -> list[float]:
    """Where a panel's values turn red; 0 for what is red at none, or at more than none."""
    steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
    values = [step["value"] or 0.0 for step in steps if step["color"] == "red"]
    return [0.0 if value == LEAST else value for value in values]


def overlaps(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether two places on the grid have a cell in common."""
    return all(one[at] < other[at] + other[size] and other[at] < one[at] + one[size] for at, size in ("xw", "yh"))


def test_there_is_one_dashboard() -> None:
    """The tests below have something to look at."""
    assert [path.name for path in DASHBOARDS] == ["clarion.json"]


@each_dashboard
def test_dashboard_is_one_that_grafana_reads(dashboard: Path) -> None:
    """A schema of Grafana 11 or 12, and a uid: a link to it outlives the next provisioning."""
    read = dashboard_read(dashboard)
    assert read["schemaVersion"] in SCHEMAS
    assert re.fullmatch(r"[a-z-]{1,40}", read["uid"])
    assert read["title"]
    assert "id" not in read  # of another Grafana's database


@each_dashboard
def test_panels_have_places(dashboard: Path) -> None:
    """Each has a number of its own and a place on the grid that is no other's; all stand under a row's heading."""
    found = panels(dashboard)
    places = [panel["gridPos"] for panel in found]
    assert len({panel["id"] for panel in found}) == len(found)
    assert [place for place in places if place["x"] + place["w"] > COLUMNS] == []
    assert [pair for pair in combinations(places, 2) if overlaps(*pair)] == []
    assert found[0]["type"] == "row"
    assert {(panel["collapsed"], len(panel["panels"])) for panel in found if panel["type"] == "row"} == {(False, 0)}


@each_dashboard
def test_panels_ask_the_provisioned_source(dashboard: Path) -> None:
    """Every question names the data source that deploy/grafana/provisioning makes, and its lines have names."""
    (source,) = yaml.safe_load(SOURCES.read_text())["datasources"]
    for panel in shown(dashboard):
        targets = panel["targets"]
        assert panel["type"] in {"timeseries", "stat"}, panel["title"]
        assert targets, panel["title"]
        assert len({target["refId"] for target in targets}) == len(targets), panel["title"]
        for asked in (panel, *targets):
            assert asked["datasource"] == {"type": source["type"], "uid": source["uid"]}, panel["title"]
        assert all(target["expr"] and target["legendFormat"] for target in targets), panel["title"]


@each_dashboard
def test_panels_say_what_they_show(dashboard: Path) -> None:
    """A title that no other has, a unit that Grafana knows, and what to do; pages and alerts in it are there."""
    known, titles = alerts(), []
    for panel in shown(dashboard):
        text = panel["description"]
        titles.append(panel["title"])
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert text.endswith("."), panel["title"]
        assert [page for page in _PAGE.findall(text) if not (ROOT / page).is_file()] == []
        assert [name for name in _ALERT.findall(text) if name not in known] == []
    assert len(set(titles)) == len(titles)


@each_dashboard
def test_each_alert_has_its_panel(dashboard: Path) -> None:
    """Who is called for an alert finds the panel that shows its number."""
    named = {name for panel in shown(dashboard) for name in _ALERT.findall(panel["description"])}
    assert alerts().keys() - named == set()


@each_dashboard
def test_red_is_where_the_alert_is(dashboard: Path) -> None:
    """A panel turns red at the number of an alert that it names, or at the one of docs/reference/metrics.md."""
    known, seen = alerts(), 0
    rows = {line.split("`")[1]: line for line in METRICS.read_text().splitlines() if line.startswith("| `clarion_")}
    for panel in shown(dashboard):
        for red in reds(panel):
            numbers = [n for name in _ALERT.findall(panel["description"]) for n in _COMPARED.findall(known[name])]
            if not numbers:
                (metric,) = {m for t in panel["targets"] for m in re.findall(r"(clarion_\w+)_bucket", t["expr"])}
                numbers = re.findall(r"over ([\d.]+) s", rows[metric])
            assert red in map(float, numbers), panel["title"]
            seen += 1
    assert seen


@each_dashboard
def test_steps_ascend(dashboard: Path) -> None:
    """Grafana wants the first step without a value, and each of the others above the one before."""
    for panel in shown(dashboard):
        if (thresholds := panel["fieldConfig"]["defaults"].get("thresholds")) is not None:
            first, *others = [step["value"] for step in thresholds["steps"]]
            assert thresholds["mode"] == "absolute"
            assert first is None, panel["title"]
            assert others, panel["title"]
            assert others == sorted(set(others)), panel["title"]


@each_dashboard
def test_single_numbers_are_of_now(dashboard: Path) -> None:
    """Asked over a time, the last one there was would stand in for one that is gone; and what is gone has a word."""
    stats = [panel for panel in shown(dashboard) if panel["type"] == "stat"]
    assert stats
    for panel in stats:
        assert {(target["instant"], target["range"]) for target in panel["targets"]} == {(True, False)}, panel["title"]
        assert panel["fieldConfig"]["defaults"]["noValue"], panel["title"]


@each_dashboard
def test_rates_span_some_scrapes(dashboard: Path) -> None:
    """A rate has a value under Kubernetes, too, which is read three times less often than Compose."""
    spans = {title: [int(m) * 60 for m in _WINDOW.findall(each)] for title, each in expressions(dashboard).items()}
    assert any(spans.values())
    assert {title: found for title, found in spans.items() if found and min(found) < WINDOW_MIN_S} == {}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool on this machine")
@each_dashboard
def test_prometheus_understands_each_question(dashboard: Path, tmp_path: Path) -> None:
    """promtool finds nothing wrong with them, written down as rules."""
    rules = [{"record": f"panel:{n}", "expr": each} for n, each in enumerate(expressions(dashboard).values())]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    words = ["promtool", "check", "rules", "rules.yml"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
