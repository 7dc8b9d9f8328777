"""Grafana's dashboards as files: their panels, and what those ask Prometheus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
DASHBOARDS: Final = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))


def dashboard_read(dashboard: Path) -> dict[str, Any]:
    """A dashboard as Grafana reads it."""
    read: dict[str, Any] = json.loads(dashboard.read_text())
    return read


def panels(dashboard: Path) -> list[dict[str, Any]]:
    """All panels, the rows' headings included."""
    found: list[dict[str, Any]] = dashboard_read(dashboard)["panels"]
    return found


def shown(dashboard: Path) -> Iterator[dict[str, Any]]:
    """The panels that show something: all but the rows' headings."""
    return (panel for panel in panels(dashboard) if panel["type"] != "row")


def expressions(dashboard: Path) -> dict[str, str]:
    """What a dashboard asks: by the panel's title and the question's letter."""
    asked = ((panel["title"], each) for panel in shown(dashboard) for each in panel["targets"])
    return {f"{title} {each['refId']}": each["expr"] for title, each in asked}
