"""The servers that are measured. A new one is an entry of ``SUBJECTS``."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeAlias

from tests.load.dialogues import Dialect
from tests.load.nchan import nchan_check, nchan_command
from tests.load.node_packages import SOCKETIO, socketio_install
from tests.load.processes import on_cores, tree
from tests.load.publishing import Door
from tests.load.stage import ROOT, Stage
from tests.support.child import child_start, child_stop
from tests.support.ports import free_port, is_listening
from tests.support.waiting import wait_until

Command: TypeAlias = Callable[[int, Path], list[str]]


@dataclass(frozen=True)
class Subject:
    """One kind of server.

    Attributes:
        command: port and a folder for its files → the program and its arguments.
        dialect: what its clients speak.
        ready_path: an HTTP path that answers 200 once it is ready; "": it listens.
        port_variable: environment variable that takes ``127.0.0.1:<port>``, where no argument does.
        prepare: called before it starts; it may raise ``PackagesMissing``.
        door: how publications reach it.
        is_ours: what goes wrong with it fails the run; of a peer it is a note.
        separator: of a channel's namespace and the rest; the stock core layer takes no colon.
        env: what it needs beside the stage's.
    """

    name: str
    title: str
    command: Command
    ready_path: str = ""
    port_variable: str = ""
    dialect: Dialect = "room"
    prepare: Callable[[], None] = lambda: None
    door: Door = "redis"
    is_ours: bool = False
    separator: str = ":"
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    """A running subject."""

    subject: Subject
    port: int
    pids: list[int]
    process: subprocess.Popen[bytes]


def _clarion_server(port: int, _folder: Path) -> list[str]:
    command = [sys.executable, "-m", "clarion.server", "-b", "127.0.0.1", "-p", str(port)]
    return [*command, "tests.load.stock_site:application"]


def _daphne(application: str) -> Command:
    # Its own backlog is 50; with this one it is not the queue that loses clients. -v 0: no access log, as elsewhere.
    endpoint = "tcp:port={}:interface=127.0.0.1:backlog=4096"
    return lambda port, _folder: [sys.executable, "-m", "daphne", "-v", "0", "-e", endpoint.format(port), application]


def _program(module: str, *arguments: str) -> Command:
    """A program whose arguments name no port: its environment does, or it listens to nobody."""
    return lambda _port, _folder: [sys.executable, "-m", module, *arguments]


def _gateway(name: str, title: str, dialect: Dialect) -> Subject:
    """The gateway, for clients of one kind."""
    program = _program("ws_gateway")
    return Subject(name, title, program, "/health/ready", "CLARION_GATEWAY_BIND", dialect, is_ours=True)


SUBJECTS: Final = {
    subject.name: subject
    for subject in (
        _gateway("clarion", "Clarion gateway", "room"),
        Subject("stock", "stock consumer on daphne", _daphne("tests.load.stock_site:application")),
        Subject(
            "stock-core",
            "stock consumer on daphne, core layer",
            _daphne("tests.load.stock_site:application"),
            door="core",
            separator=".",
            env={"STOCK_LAYER": "channels_redis.core.RedisChannelLayer"},
        ),
        Subject("lessons", "the lab's consumers on daphne", _daphne("tests.load.lesson_site:application")),
        Subject(
            "stock-on-clarion",
            "stock consumer on clarion.server",
            _clarion_server,
            is_ours=True,
        ),
        Subject(
            "http-api",
            "http-api, one worker",
            lambda _port, _folder: [sys.executable, "-m", "gunicorn", "-c", "services/http-api/gunicorn.conf.py"],
            "/health/ready",
            "CLARION_HTTP_BIND",
            is_ours=True,
        ),
        _gateway("protocol", "Clarion gateway, client protocol", "protocol"),
        _gateway("sse", "Clarion gateway, SSE", "sse"),
        _gateway("http-stream", "Clarion gateway, HTTP streaming", "http-stream"),
        Subject(
            "socketio",
            "Socket.IO, Redis adapter",
            lambda port, _folder: ["node", str(SOCKETIO / "server.js"), str(port)],
            dialect="socketio",
            prepare=socketio_install,
            door="socketio",
        ),
        Subject("nchan", "nchan, memory store", nchan_command, dialect="nchan", prepare=nchan_check, door="nchan"),
        Subject("publisher", "clarion.Publisher (synchronous)", _program("tests.load.publish_cost", "publisher")),
        Subject("layer", "layer.group_send (asyncio)", _program("tests.load.publish_cost", "layer")),
    )
}


@contextmanager
def server_running(stage: Stage, name: str) -> Iterator[Server]:
    """Run a subject alone on the server's core; every measurement gets a fresh one."""
    subject = SUBJECTS[name]
    subject.prepare()
    port, log = free_port(), stage.log(name)
    env = {
        **stage.env,
        **subject.env,
        **({subject.port_variable: f"127.0.0.1:{port}"} if subject.port_variable else {}),
    }
    with on_cores(stage.cores.server):
        process = child_start(subject.command(port, stage.folder), log, env=env, cwd=ROOT)
    try:
        wait_until(lambda: _is_ready(process, subject, port, stage), what=f"{subject.title} is ready")
        yield Server(subject, port, tree(process.pid), process)
    finally:
        # What it does at its end is not measured here, and a stock server takes long over its clients.
        child_stop(process, hard=True)


def _is_ready(process: subprocess.Popen[bytes], subject: Subject, port: int, stage: Stage) -> bool:
    if process.poll() is not None:
        text = stage.log(subject.name).read_text(errors="replace")[-3000:]
        raise AssertionError(f"{subject.title} ended with code {process.returncode}:\n{text}")
    if not is_listening(port):
        return False
    return not subject.ready_path or _answers(port, subject.ready_path)


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
