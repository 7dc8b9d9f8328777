"""What nginx hands to the services, seen by a stand-in behind it that tells each request's headers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from deploy.dev.env import DevEnv
from deploy.dev.nginx import nginx_write
from tests.support.child import child_start, child_stop
from tests.support.ports import free_port, is_listening
from tests.support.waiting import wait_until

Ask = Callable[..., dict[str, str]]
FORGED = {
    "Daphne-Root-Path": "/elsewhere",
    "X-Forwarded-For": "192.0.2.66",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "Forwarded": "for=192.0.2.66",
    "X-Real-IP": "192.0.2.66",
}


class Teller(BaseHTTPRequestHandler):
    """Answers with the path and the headers that it got."""

    def do_GET(self) -> None:
        """Answer any GET."""
        body = json.dumps(
            {**{name.lower(): value for name, value in self.headers.items()}, ":path": self.path}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def behind() -> Iterator[str]:
    """Run the stand-in and return its ``host:port``."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Teller) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


@pytest.fixture
def nginx(behind: str, tmp_path: Path) -> Iterator[Callable[[str], Ask]]:
    """Start nginx alone, with trusted networks or without, and return a function that asks through it."""
    children = []

    def start(trusted_proxies: str) -> Ask:
        port = free_port()
        env = DevEnv(port=port, run_dir=tmp_path, trusted_proxies=trusted_proxies)
        conf = nginx_write(tmp_path, env, http_api=behind, gateways=[behind], access_log=tmp_path / "access.log")
        command = ["nginx", "-p", tmp_path, "-c", conf, "-e", "stderr"]
        children.append(child_start(command, tmp_path / "nginx.out"))
        wait_until(lambda: is_listening(port), what="nginx listens")

        def ask(path: str, headers: dict[str, str]) -> dict[str, str]:
            answer = httpx.get(f"http://127.0.0.1:{port}{path}", headers=headers, trust_env=False, timeout=20)
            told: dict[str, str] = answer.json()
            return told | {":port": str(port)}

        return ask

    yield start
    for child in children:
        child_stop(child)


@pytest.mark.parametrize("path", ["/api/v1/tokens", "/ws/chat:x/", "/connection/websocket", "/emulation"])
def test_nginx_believes_no_client_about_itself(nginx: Callable[[str], Ask], path: str) -> None:
    """On every route: a client's word about its address, scheme, host and root path does not pass."""
    told = nginx("")(path, FORGED)
    assert told["x-forwarded-for"] == told["x-real-ip"] == "127.0.0.1"
    assert told["x-forwarded-proto"] == "http"
    assert not {"daphne-root-path", "x-forwarded-host", "forwarded"} & set(told)
    assert told["host"] == f"127.0.0.1:{told[':port']}"  # with its port, or Django's CSRF check refuses
    assert len(told["x-request-id"]) == 32


def test_nginx_believes_a_trusted_proxy(nginx: Callable[[str], Ask]) -> None:
    """Behind a named network the client is the last address that is not trusted, and the scheme is the proxy's."""
    ask = nginx("127.0.0.0/8, 10.0.0.0/8")
    told = ask("/", {"X-Forwarded-For": "192.0.2.66, 198.51.100.7, 10.1.2.3", "X-Forwarded-Proto": "https"})
    assert told["x-forwarded-for"] == told["x-real-ip"] == "198.51.100.7"
    assert told["x-forwarded-proto"] == "https"
    assert ask("/", {"X-Forwarded-Proto": "gopher"})["x-forwarded-proto"] == "http"


def test_nginx_leaves_a_channels_name_as_it_came(nginx: Callable[[str], Ask]) -> None:
    """%23 stays %23: decoded it would begin a fragment, and a personal channel could not be named."""
    assert nginx("")("/ws/%2342/?token=a%20b", {})[":path"] == "/ws/%2342/?token=a%20b"
