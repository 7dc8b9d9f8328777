"""``/metrics`` of the internal port: what all workers count, served by gunicorn's master."""

from __future__ import annotations

import http.client
import json
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from prometheus_client.parser import text_string_to_metric_families

from http_api.metrics.folder import PREFIX
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

from .conftest import StartService
from .http_service import GUNICORN_CONF, HttpService

Numbers = dict[str, float]


def scrape(service: HttpService) -> str:
    """What Prometheus would get."""
    with urllib.request.urlopen(f"http://127.0.0.1:{service.internal_port}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def numbers(service: HttpService) -> Numbers:
    """One scrape: samples by their name and, behind it, the values of their labels by the labels' names."""
    return {
        " ".join((sample.name, *(sample.labels[name] for name in sorted(sample.labels)))): sample.value
        for family in text_string_to_metric_families(scrape(service))
        for sample in family.samples
    }


def requests(found: Numbers, method: str, route: str, status: str) -> float:
    """How many requests were answered so."""
    return found.get(f"clarion_http_requests_total {method} {route} {status}", 0)


def spread(service: HttpService, count: int) -> None:
    """Publish so that every worker has a part in it, each time on a connection of its own."""
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda number: service.publish("chat:room", number).status, range(count)))
    assert set(statuses) == {202}


def folder(service: HttpService) -> Path:
    """Where the workers write: what a worker has mapped says it."""
    (worker, *_) = service.workers()
    maps = [Path(each.path) for each in worker.memory_maps() if f"/{PREFIX}" in each.path]
    return maps[0].parent


def worker_replace(service: HttpService, kill: Callable[[psutil.Process], None]) -> None:
    """End the only worker, and wait until another one answers."""
    (worker,) = service.workers()
    kill(worker)
    wait_until(lambda: [other for other in service.workers() if other.pid != worker.pid], what="a new worker")
    wait_until(lambda: not worker.is_running(), what="the old one is gone")
    wait_until(lambda: is_live(service), what="the new worker answers")


def is_live(service: HttpService) -> bool:
    """Whether a worker answers."""
    try:
        return service.request("GET", "/health/live").status == 200
    except (OSError, http.client.HTTPException):
        return False


def test_metrics_are_those_of_all_workers(start_service: StartService, shared_redis_url: str) -> None:
    """One scrape sums up what every worker answered, by method, route and class of status."""
    service = start_service(shared_redis_url, CLARION_HTTP_WORKERS="2")
    first = numbers(service)
    assert first["clarion_http_workers"] == 2
    assert [name for name in first if name.startswith("clarion_build_info ") and "http-api" in name.split()]
    spread(service, 60)
    assert service.publish("a%20b").status == 400
    assert service.publish("chat:room", key="read").status == 403
    found = numbers(service)
    assert requests(found, "POST", "publications", "2xx") == 60
    assert requests(found, "POST", "publications", "4xx") == 2
    assert found["clarion_http_request_seconds_count publications"] == 62
    assert found["clarion_http_request_seconds_bucket +Inf publications"] == 62
    assert 0 < found["clarion_http_request_seconds_sum publications"] < 62
    assert found["clarion_http_publications_total sent"] == 60
    assert found["clarion_http_publications_total failed"] == 0


def test_labels_are_no_clients_words(start_service: StartService, shared_redis_url: str) -> None:
    """A path, a channel or a made-up method never becomes a series; a probe is no request."""
    service = start_service(shared_redis_url)
    assert service.publish("chat:secret-4711").status == 202
    assert service.request("GET", "/nothing/secret-4711").status == 404
    assert service.request("BREW-4711", "/").status == 403
    assert service.request("GET", "/static/clarion/clarion.css").status == 200
    assert service.request("GET", "/admin/").status == 302
    found = numbers(service)
    assert requests(found, "POST", "publications", "2xx") == 1
    assert requests(found, "GET", "unmatched", "4xx") == 1
    assert requests(found, "other", "console", "4xx") == 1
    assert requests(found, "GET", "static", "2xx") == 1
    assert requests(found, "GET", "admin:index", "3xx") == 1
    assert sum(value for name, value in found.items() if name.startswith("clarion_http_requests_total")) == 5
    assert "4711" not in scrape(service)


def test_publications_that_redis_does_not_take_are_failed(
    start_service: StartService, redis_server: RedisServer
) -> None:
    """By each way: REST, the server API (whose status is 200), and each channel of a broadcast."""
    service = start_service(redis_server.url)
    assert service.post("/api/publish", {"channel": "chat:a", "data": 1}, key="publish").json() == {"result": {}}
    channels = {"channels": ["chat:a", "chat:b", "no such"], "data": 1}
    assert service.post("/api/broadcast", channels, key="publish").status == 200
    assert numbers(service)["clarion_http_publications_total sent"] == 3
    redis_server.stop()
    assert service.publish("chat:a").status == 503
    assert service.post("/api/publish", {"channel": "chat:a", "data": 1}, key="publish").json()["error"]["code"] == 100
    assert service.post("/api/broadcast", channels, key="publish").status == 200
    found = numbers(service)
    assert found["clarion_http_publications_total sent"] == 3
    assert found["clarion_http_publications_total failed"] == 4
    assert requests(found, "POST", "publications", "5xx") == 1
    assert requests(found, "POST", "server-api-publish", "2xx") == 2


def test_no_number_goes_with_its_worker(start_service: StartService, shared_redis_url: str) -> None:
    """Workers that are killed or replaced: every scrape is answered, no counter falls, no file is left."""
    service = start_service(shared_redis_url)
    seen: list[float] = []
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.is_set():
            seen.append(requests(numbers(service), "POST", "publications", "2xx"))

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            for kill in (psutil.Process.kill, psutil.Process.terminate) * 3:
                spread(service, 10)
                worker_replace(service, kill)
        finally:
            is_over.set()
        watching.result()
    assert seen == sorted(seen)
    found = numbers(service)
    assert requests(found, "POST", "publications", "2xx") == 60
    assert found["clarion_http_request_seconds_count publications"] == 60
    assert found["clarion_http_publications_total sent"] == 60
    (worker,) = service.workers()
    owners = {path.stem.partition("_")[2] for path in folder(service).iterdir()}
    assert owners == {"dead", str(worker.pid)}
    assert "internal_request.failed" not in service.log


def test_the_folder_goes_with_its_master(start_service: StartService, shared_redis_url: str) -> None:
    """It is its user's alone, and removed at the end; a killed master's by the next one, a living one's by nobody."""
    living, stopped, killed = (start_service(shared_redis_url) for _ in range(3))
    folders = [folder(service) for service in (living, stopped, killed)]
    assert len(set(folders)) == 3
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
    assert stopped.stop() == 0
    killed.stop(hard=True)
    assert [path.exists() for path in folders] == [True, False, True]
    start_service(shared_redis_url, seed=False)
    assert [path.exists() for path in folders] == [True, False, False]
    spread(living, 5)
    assert requests(numbers(living), "POST", "publications", "2xx") == 5


def test_the_internal_port_is_the_masters_alone(start_service: StartService, shared_redis_url: str) -> None:
    """A worker that outlives a killed master does not keep the next one from it; clients' port has no numbers."""
    service = start_service(shared_redis_url, CLARION_HTTP_WORKERS="2")
    assert service.request("GET", "/metrics").status == 404
    for worker in service.workers():
        assert listening(worker) == {service.port}
    assert listening(service.workers()[0].parent()) == {service.port, service.internal_port}


def listening(process: psutil.Process | None) -> set[int]:
    """The ports on which a process listens."""
    assert process is not None
    return {each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN}


def test_a_taken_internal_port_is_said_plainly(service: HttpService) -> None:
    """No service without its numbers: exit code 1, one line, no worker, no folder."""
    before = set(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")) | set(Path("/dev/shm").glob(f"{PREFIX}*"))
    done = service.run("-m", "gunicorn", "-c", str(GUNICORN_CONF), CLARION_HTTP_BIND="127.0.0.1:0")
    assert done.returncode == 1, done.stderr
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [event["port"] for event in events if event["event"] == "internal_port.taken"] == [service.internal_port]
    assert "Booting worker" not in done.stderr
    after = set(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")) | set(Path("/dev/shm").glob(f"{PREFIX}*"))
    assert after <= before
