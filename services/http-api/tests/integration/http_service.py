"""A real gunicorn with the service on a free port, and requests to it as bytes: no client tidies a path up."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.support.child import child_start, child_stop
from tests.support.ports import free_port, is_listening
from tests.support.waiting import wait_until

HERE = Path(__file__).parent
GUNICORN_CONF = HERE.parents[1] / "gunicorn.conf.py"
TOKEN_SECRET = "dev-token-secret-of-the-integration-tests-01"
PASSWORD = "correct horse battery staple"

CLARION_TOML = """
[limits]
publication_bytes = 65536
[[channel.namespaces]]
name = "chat"
[[channel.namespaces]]
name = "kept"
history_size = 10
history_ttl = "300s"
"""

# What the tests start from: a key per scope, a user, an administrator. Printed as JSON.
SEED = """
import django, json, sys
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
from http_api.keys.scopes import Scope
from http_api.keys.services import key_create
password = sys.argv[1]
keys = {scope.value: key_create(scope.value, frozenset([scope]))[1] for scope in Scope}
ada = User.objects.create_user("ada", password=password)
root = User.objects.create_superuser("root", password=password)
print(json.dumps({"keys": keys, "ada": str(ada.pk), "root": str(root.pk)}))
"""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. ``headers`` has lower-case names; of a repeated one the last."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: dict[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The problem document's code; fails where the answer is none."""
        assert self.headers["content-type"] == "application/problem+json", (self.status, self.body)
        document = self.json()
        assert document["status"] == self.status
        assert document["type"].endswith(document["code"])
        assert {"title", "detail", "request_id"} <= document.keys()
        assert b"Traceback" not in self.body
        return str(document["code"])


class HttpService:
    """One gunicorn of the service with a database of its own."""

    def __init__(self, folder: Path, database_url: str, redis_url: str, prefix: str, **env: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.internal_port = free_port()
        self.prefix = prefix
        (folder / "clarion.toml").write_text(CLARION_TOML)
        self.env = {
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "http_api.settings.base",
            "CLARION_ENVIRONMENT": "development",
            "CLARION_SECRET_KEY": "dev-secret-key-of-the-integration-tests-0123",
            "CLARION_TOKEN_SECRET": TOKEN_SECRET,
            "CLARION_PUBLIC_URL": f"http://127.0.0.1:{self.port}",
            "CLARION_HTTP_BIND": f"127.0.0.1:{self.port}",
            "CLARION_INTERNAL_PORT": str(self.internal_port),
            "CLARION_CONFIG": str(folder / "clarion.toml"),
            "CLARION_LAYER_PREFIX": prefix,
            "CLARION_REDIS_URL": redis_url,
            "DATABASE_URL": database_url,
            **env,
        }
        self.keys: dict[str, str] = {}
        self.users: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What gunicorn and the service wrote."""
        return (self.folder / "gunicorn.log").read_text(errors="replace")

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run Python with the service's environment, and return what came of it."""
        return subprocess.run(
            [sys.executable, *command],
            env={**self.env, **env},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            cwd=self.folder,
        )

    def seed(self) -> None:
        """Migrate; make keys and users."""
        done = self.run("-c", SEED, PASSWORD)
        assert done.returncode == 0, done.stderr
        made = json.loads(done.stdout)
        self.keys, self.users = made["keys"], {"ada": made["ada"], "root": made["root"]}

    def start(self) -> None:
        """Start gunicorn and wait until a request is answered."""
        command = [sys.executable, "-m", "gunicorn", "-c", GUNICORN_CONF]
        self._process = child_start(command, self.folder / "gunicorn.log", env=self.env, cwd=self.folder)
        wait_until(self._answers, 60, what="gunicorn answers")

    def stop(self, *, hard: bool = False) -> int:
        """Stop gunicorn; returns its exit code."""
        assert self._process
        code = child_stop(self._process, hard=hard)
        self._process = None
        return code

    def workers(self) -> list[psutil.Process]:
        """The worker processes."""
        assert self._process
        return psutil.Process(self._process.pid).children()

    def connection(self) -> http.client.HTTPConnection:
        """A connection that is kept open from request to request; close it."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        connection: http.client.HTTPConnection | None = None,
    ) -> Answer:
        """Send one request with exactly this path."""
        client = connection or self.connection()
        try:
            client.request(method, path, body, dict(headers or {}))
            response = client.getresponse()
            content = response.read()
        finally:
            if connection is None:
                client.close()
        cookies = dict(_cookie(value) for name, value in response.getheaders() if name.lower() == "set-cookie")
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, dict(headers), content, cookies)

    def post(
        self,
        path: str,
        document: Any = None,
        *,
        key: str | None = None,
        raw: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        connection: http.client.HTTPConnection | None = None,
    ) -> Answer:
        """POST a document as JSON, or raw bytes under that name, with the key of a scope."""
        sent = {"Content-Type": "application/json", **(headers or {})}
        if key is not None:
            sent["Authorization"] = f"Bearer {self.keys.get(key, key)}"
        body = json.dumps(document) if raw is None else raw
        return self.request("POST", path, body, headers=sent, connection=connection)

    def publish(self, channel: str, data: Any = 1, **more: Any) -> Answer:
        """Publish with the publish key; the channel stands in the path as it is."""
        return self.post(f"/api/v1/channels/{channel}/publications", {"data": data}, **{"key": "publish", **more})

    def _answers(self) -> bool:
        if self._process and self._process.poll() is not None:
            raise AssertionError(f"gunicorn ended with {self._process.returncode}:\n{self.log}")
        return is_listening(self.port) and self.request("GET", "/health/live").status == 200


class Browser:
    """A cookie jar and a CSRF token, as a browser has them."""

    def __init__(self, service: HttpService) -> None:
        self._service = service
        self.cookies: dict[str, str] = {}

    def request(
        self, method: str, path: str, body: bytes | str | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request with the cookies so far."""
        jar = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self._service.request(method, path, body, headers={"Cookie": jar, **(headers or {})})
        self.cookies.update(answer.cookies)
        return answer

    def post(self, path: str, document: Any = None, *, headers: Mapping[str, str] | None = None) -> Answer:
        """POST JSON with the CSRF token."""
        sent = {"Content-Type": "application/json", "X-CSRFToken": self.cookies.get("clarion_csrf", "")}
        return self.request("POST", path, json.dumps(document), headers={**sent, **(headers or {})})

    def sign_in(self, username: str, password: str = PASSWORD) -> Answer:
        """Fetch the CSRF cookie, then sign in by JSON."""
        self.request("GET", "/api/v1/me")
        return self.post("/sign-in", {"username": username, "password": password})


def _cookie(header: str) -> Sequence[str]:
    name, _, rest = header.partition("=")
    return name, rest.partition(";")[0]
