"""The profile "observability": Prometheus finds every replica, its alerts and Grafana's questions have answers."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
import yaml

from tests.support.containers import ROOT, Deployment, docker
from tests.support.dashboards import DASHBOARDS, expressions
from tests.support.protocol_client import protocol_client
from tests.support.waiting import wait_until, wait_until_async

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("images")]

JOBS: Final = {
    job["job_name"] for job in yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
}

DEBIAN_PROMETHEUS: Final = """
FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends prometheus && install -d -o 65534 -g 65534 /prometheus
USER 65534:65534
ENTRYPOINT ["prometheus"]
"""
"""Stands in where no registry can be reached: Prometheus 2 of Debian 13, with the official image's user and paths."""


@pytest.fixture(scope="module")
def prometheus_image() -> Iterator[None]:
    """The image that docker-compose.yml names: there, pulled, or stood in for until these tests end."""
    name = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["prometheus"]["image"]
    known = docker("image", "inspect", name, check=False).returncode == 0
    if known or docker("pull", name, check=False).returncode == 0:
        yield
        return
    print(f"{name} cannot be pulled: Debian's Prometheus stands in for it")
    build = ["docker", "build", "--quiet", "--tag", name, "-"]
    subprocess.run(build, input=DEBIAN_PROMETHEUS, text=True, check=True, capture_output=True, timeout=300)
    yield
    docker("image", "rm", "--force", name)


@pytest.fixture(scope="module")
def prometheus(running: Deployment, prometheus_image: None) -> Iterator[Deployment]:
    """The deployment with a Prometheus beside it."""
    running.up("--no-deps", "prometheus")
    try:
        yield running
    finally:
        running.compose("rm", "--force", "--stop", "--volumes", "prometheus")


def ask(running: Deployment, path: str) -> Any:
    """What Prometheus' API answers; from a container, as it is published nowhere."""
    url = f"http://prometheus:9090/api/v1/{path}"
    script = f"import urllib.request as u; print(u.urlopen({url!r}, timeout=5).read().decode())"
    done = running.compose("exec", "-T", "notifier", "python", "-c", script, check=False)
    return json.loads(done.stdout)["data"] if done.returncode == 0 else {}


def query(running: Deployment, expression: str) -> list[dict[str, Any]]:
    """An expression's value now: one entry a series."""
    result: list[dict[str, Any]] = ask(running, f"query?query={quote(expression, safe='')}").get("result", [])
    return result


def answering(running: Deployment) -> dict[str, int]:
    """How many replicas answer, by job."""
    return {each["metric"]["job"]: int(each["value"][1]) for each in query(running, "sum by (job) (up)")}


def replicas(running: Deployment) -> dict[str, int]:
    """How many replicas run, by job."""
    return {job: len(running.ids(job)) for job in JOBS}


def alerts(running: Deployment) -> set[str]:
    """The alerts that fire, or will if it goes on."""
    return {each["labels"]["alertname"] for each in ask(running, "alerts").get("alerts", [])}


def rules_health(running: Deployment) -> set[str]:
    """What Prometheus says of its rules."""
    return {rule["health"] for group in ask(running, "rules").get("groups", []) for rule in group["rules"]}


def test_prometheus_sees_what_runs(prometheus: Deployment) -> None:
    """Every replica of every job; no alert. A gateway that is killed raises one, and it ends with its return."""
    wait_until(lambda: answering(prometheus) == replicas(prometheus), 60, what="all replicas are scraped")
    wait_until(lambda: rules_health(prometheus) == {"ok"}, 60, what="all rules have been evaluated")
    wait_until(lambda: alerts(prometheus) == set(), 60, what="no alert of its first seconds is left")
    killed = prometheus.kill("ws-gateway")[0]
    wait_until(lambda: "ClarionGatewaysMissing" in alerts(prometheus), 60, what="an alert is pending")
    docker("start", killed)
    prometheus.up()
    wait_until(lambda: alerts(prometheus) == set(), 90, what="the alert has ended")


async def faulty_traffic(running: Deployment) -> None:
    """A client that is told an error, and one that is sent away: the smoke test makes neither."""
    async with protocol_client(running.url, running.token("observer")) as client:
        assert (await client.command(subscribe={"channel": "unknown:x"}))["error"]["code"] == 102
        assert await client.answer(connect={}) == 3501  # a second one


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
async def test_dashboards_show_something(prometheus: Deployment, dashboard: Path) -> None:
    """After a little traffic each panel has a series."""
    await faulty_traffic(prometheus)
    await asyncio.to_thread(prometheus.wait_smoke)

    def empty() -> list[str]:
        return [title for title, expression in expressions(dashboard).items() if not query(prometheus, expression)]

    await wait_until_async(lambda: empty() == [], 90, what="every panel has a series")
