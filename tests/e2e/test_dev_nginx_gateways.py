"""Which gateway nginx gives a client to, seen by stand-ins of which one or all are full."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from deploy.dev.env import DevEnv
from deploy.dev.nginx import nginx_write
from tests.support.child import child_start, child_stop
from tests.support.ports import free_port, is_listening
from tests.support.waiting import wait_until

FULL = HTTPStatus.SERVICE_UNAVAILABLE
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


class Gateway(ThreadingHTTPServer):
    """Answers every request with one status, and counts them."""

    def __init__(self, status: int) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.status = status
        self.asked = 0


class Answer(BaseHTTPRequestHandler):
    """As a gateway that takes no clients, or one that is no WebSocket server."""

    server: Gateway

    def do_GET(self) -> None:
        """Answer with the gateway's status; a full one says when to come back."""
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.asked += 1
        self.send_response(self.server.status)
        if self.server.status == FULL:
            self.send_header("Retry-After", "7")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        """Answer the same."""
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def _gateways(*statuses: int) -> Iterator[list[Gateway]]:
    with ExitStack() as stack:
        servers = [stack.enter_context(Gateway(status)) for status in statuses]
        for server in servers:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(server.shutdown)
        yield servers


@contextmanager
def _nginx(gateways: Sequence[Gateway], folder: Path) -> Iterator[str]:
    port = free_port()
    addresses = [f"127.0.0.1:{gateway.server_port}" for gateway in gateways]
    env = DevEnv(port=port, run_dir=folder)
    conf = nginx_write(folder, env, http_api=addresses[0], gateways=addresses, access_log=folder / "access.log")
    child = child_start(["nginx", "-p", folder, "-c", conf, "-e", "stderr"], folder / "nginx.out")
    try:
        wait_until(lambda: is_listening(port), what="nginx listens")
        yield f"http://127.0.0.1:{port}"
    finally:
        child_stop(child)


@pytest.mark.parametrize("path", ["/ws/chat:x/", "/connection/websocket"])
def test_a_full_gateways_client_gets_another(path: str, tmp_path: Path) -> None:
    """503 in place of the 101: nothing was done, and the next gateway is asked."""
    with _gateways(FULL, HTTPStatus.NO_CONTENT) as gateways, _nginx(gateways, tmp_path) as url:
        answers = [httpx.get(url + path, headers=HANDSHAKE, trust_env=False, timeout=20) for _ in range(8)]
        assert [answer.status_code for answer in answers] == [204] * 8
        assert gateways[0].asked > 0
        assert gateways[1].asked == 8


def test_full_gateways_say_when_to_come_back(tmp_path: Path) -> None:
    """Each is asked once, and the client gets the last one's own answer."""
    with _gateways(FULL, FULL) as gateways, _nginx(gateways, tmp_path) as url:
        answer = httpx.get(f"{url}/connection/websocket", headers=HANDSHAKE, trust_env=False, timeout=20)
        assert (answer.status_code, answer.headers["Retry-After"]) == (FULL, "7")
        assert [gateway.asked for gateway in gateways] == [1, 1]


@pytest.mark.parametrize("path", ["/emulation", "/connection/http_stream"])
def test_a_post_is_sent_once(path: str, tmp_path: Path) -> None:
    """A command that a gateway has read could have been done: it is never repeated elsewhere."""
    with _gateways(FULL, HTTPStatus.NO_CONTENT) as gateways, _nginx(gateways, tmp_path) as url:
        answers = [httpx.post(url + path, content=b"{}", trust_env=False, timeout=20) for _ in range(8)]
        assert sum(gateway.asked for gateway in gateways) == 8
        assert FULL in [answer.status_code for answer in answers]
