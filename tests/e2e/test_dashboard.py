"""Grafana's dashboard on the running product: a Prometheus of this machine has an answer to each of its questions.

tests/containers/test_observability.py asks the same of the images.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml

from tests.support.child import child_start, child_stop
from tests.support.dashboards import DASHBOARDS, expressions
from tests.support.ports import free_port
from tests.support.product import Product
from tests.support.protocol_client import protocol_client
from tests.support.waiting import wait_until

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="no Prometheus on this machine")

SCRAPE_S: Final = 1
DEADLINE_S: Final = 30


def configuration(product: Product) -> str:
    """As deploy/prometheus/prometheus.yml, but of `make up`'s ports, and quicker."""
    dev = product.dev
    addresses = {
        "http-api": [dev["http_api_internal"]],
        "ws-gateway": dev["gateways_internal"],
        "notifier": [dev["notifier_internal"]],
    }
    jobs = [
        {"job_name": job, "static_configs": [{"targets": [each.removeprefix("http://") for each in found]}]}
        for job, found in addresses.items()
    ]
    return yaml.safe_dump({"global": {"scrape_interval": f"{SCRAPE_S}s"}, "scrape_configs": jobs})


class Prometheus:
    """One that runs here, asked by its API."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def values(self, expression: str) -> list[float]:
        """An expression's value now: a number a series; none while it does not answer, or says that it starts (503)."""
        try:
            said = self._client.get("query", params={"query": expression})
        except httpx.TransportError:
            return []
        if said.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            return []
        answer: dict[str, Any] = said.json()
        assert answer["status"] == "success", answer
        return [float(series["value"][1]) for series in answer["data"]["result"]]


@pytest.fixture
def prometheus(product: Product, tmp_path: Path) -> Iterator[Prometheus]:
    """It reads the product's replicas, all of which answer."""
    (tmp_path / "prometheus.yml").write_text(configuration(product))
    port = free_port()
    options = {
        "config.file": "prometheus.yml",
        "storage.tsdb.path": "data",
        "web.listen-address": f"127.0.0.1:{port}",
    }
    words = [f"--{name}={value}" for name, value in options.items()]
    child = child_start(["prometheus", *words], tmp_path / "prometheus.log", cwd=tmp_path)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1/", trust_env=False) as client:
            made = Prometheus(client)
            wait_until(lambda: made.values("sum(up)") == [4], 30, what="http-api, both gateways, the notifier are read")
            yield made
    finally:
        child_stop(child)


async def traffic(product: Product) -> None:
    """Some of each kind: a publish, a notification, a client that is told an error and one that is sent away."""
    async with protocol_client(product.url, product.token("observer")) as client:
        await client.subscribe("chat:dashboard")
        product.publish("chat:dashboard", {"n": 1})
        assert await client.push("pub", "chat:dashboard")
        assert (await client.command(subscribe={"channel": "unknown:x"}))["error"]["code"] == 102
        assert await client.answer(connect={}) == 3501
    wanted = {"users": ["observer"], "title": "Seen", "body": "by the dashboard"}
    with product.client() as http:
        assert http.post("/api/v1/notifications", json=wanted).status_code == httpx.codes.ACCEPTED


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
async def test_panels_have_numbers(product: Product, prometheus: Prometheus, dashboard: Path) -> None:
    """Under a little traffic each question has an answer, and not of nothing divided by nothing."""
    asked = expressions(dashboard)

    def empty() -> list[str]:
        return [title for title, each in asked.items() if all(map(math.isnan, prometheus.values(each)))]

    end_s = time.monotonic() + DEADLINE_S
    while (left := await asyncio.to_thread(empty)) and time.monotonic() < end_s:
        await traffic(product)  # again: a series that begins with its first count has no rate yet
    assert left == []
