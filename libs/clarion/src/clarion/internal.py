"""The internal port: health now, metrics and drain beside it; never behind nginx, loopback unless told otherwise.

A small threaded WSGI server of the standard library. It runs beside the service's own loop or workers, so it answers
even when those do not: that is what a probe wants to know.

Source: docs/reference/health.md.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

log = structlog.stdlib.get_logger(__name__)

REQUESTS_MAX: Final = 16
"""Requests at once; over it a connection is closed unanswered."""

IDLE_TIMEOUT_S: Final = 5.0
"""How long a client may take over any one read or write."""

LOOP_ANSWER_S: Final = 2.0
"""How long an event loop may take over a probe's question."""

OK: Final = "ok"


@dataclass(frozen=True, slots=True)
class Response:
    """What a handler answers."""

    status: HTTPStatus
    body: bytes
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class Request:
    """What a handler is asked: the query's values by name, blank ones too, in the order of the URL."""

    query: Mapping[str, list[str]]


Handler = Callable[[Request], Response]
Check = Callable[[], str]
"""Asks for one thing that the service needs: "ok", or what is wrong, without a secret. It answers within a second or
two by itself: a probe does not wait longer."""


def health_routes(*, live: Mapping[str, Check], ready: Mapping[str, Check]) -> dict[str, Handler]:
    """``GET /health/live`` (fails: restart the process) and ``GET /health/ready`` (fails: send it no work).

    They answer 200 ``{"status": "ok", "checks": {name: "ok"}}``, or 503 with ``"status": "unavailable"``.
    """
    return {
        "GET /health/live": lambda _request: checks_response(live),
        "GET /health/ready": lambda _request: checks_response(ready),
    }


def checks_response(checks: Mapping[str, Check]) -> Response:
    """Run the checks and say what each found."""
    found = {name: _check(name, check) for name, check in checks.items()}
    is_ok = all(text == OK for text in found.values())
    status = HTTPStatus.OK if is_ok else HTTPStatus.SERVICE_UNAVAILABLE
    return Response(status, json.dumps({"status": OK if is_ok else "unavailable", "checks": found}).encode())


def loop_check(loop: asyncio.AbstractEventLoop, answer_s: float = LOOP_ANSWER_S) -> Check:
    """Make a check that asks an event loop, from a probe's thread, whether it turns."""

    def check() -> str:
        answered = threading.Event()
        loop.call_soon_threadsafe(answered.set)
        return OK if answered.wait(answer_s) else f"did not answer within {answer_s:g} s"

    return check


def _check(name: str, check: Check) -> str:
    try:
        return check()
    except Exception as exc:  # noqa: BLE001 - a probe's boundary: whatever a check raises, the service is not ready
        log.warning("check.failed", check=name, error=type(exc).__name__)
        return f"failed: {type(exc).__name__}"


class InternalServer:
    """Serves routes from a daemon thread.

    Args:
        host: the address; loopback, or the container's.
        port: 0 takes a free one; ``port`` says which.
        routes: ``"GET /path"`` to its handler; may be added to before ``start``.

    Raises:
        OSError: the port is taken, or not ours to take.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0, routes: Mapping[str, Handler] | None = None) -> None:
        self.routes: dict[str, Handler] = dict(routes or {})
        self._server = _Server((host, port), self._application)
        self._thread = threading.Thread(
            # Short, because stop() waits for one such interval.
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name="internal-port",
            daemon=True,
        )
        self.host: str = host
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()
        log.info("internal_port.opened", host=self.host, port=self.port)

    def stop(self) -> None:
        """Close the port. Requests under way keep their threads, which are daemons and bounded in time."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def _application(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True))
        response = self._respond(environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""), request)
        headers = [
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
            ("Cache-Control", "no-store"),
        ]
        start_response(f"{response.status.value} {response.status.phrase}", headers)
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else response.body]

    def _respond(self, method: str, path: str, request: Request) -> Response:
        handler = self.routes.get(f"{'GET' if method == 'HEAD' else method} {path}")
        if handler is None:
            is_path = any(route.endswith(f" {path}") for route in self.routes)
            if is_path:
                return problem(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed")
            return problem(HTTPStatus.NOT_FOUND, "not_found")
        try:
            return handler(request)
        except Exception as exc:  # a request's boundary: the port answers, whatever a handler does
            log.error("internal_request.failed", method=method, path=path, error=type(exc).__name__, exc_info=exc)
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal")


def problem(status: HTTPStatus, code: str, detail: str = "") -> Response:
    """A refusal: RFC 9457, with a code that stays the same."""
    document = {
        "type": f"urn:clarion:problem:{code}",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
    }
    return Response(status, json.dumps(document).encode(), "application/problem+json")


class _Handler(WSGIRequestHandler):
    timeout = IDLE_TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a probe every second is not news."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], application: Callable[..., Iterable[bytes]]) -> None:
        self._free = threading.BoundedSemaphore(REQUESTS_MAX)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)
        self.set_app(application)

    def server_bind(self) -> None:
        """Bind without HTTPServer's look-up of our own name, which takes as long as a broken DNS lets it."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the request's thread, unless as many as may be are busy."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one request, then let another one in."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away or was too slow is no news on a port that only probes use."""
        log.debug("internal_request.dropped", error=repr(sys.exception()))
