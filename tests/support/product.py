"""The whole product for tests: what ``make up`` runs, in a folder of its own and on free ports."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from deploy.dev.processes import describe, end_all, processes_of
from tests.support.ports import free_port
from tests.support.rest_client import RestClient
from tests.support.waiting import wait_until

ROOT: Final = Path(__file__).resolve().parents[2]
START_DEADLINE_S: Final = 120.0
STOP_DEADLINE_S: Final = 90.0


class Product(RestClient):
    """One ``make up``: nginx, http-api, gateways, notifier and Redis under their supervisor.

    Args:
        gateways: how many replicas.
        env: more variables, e.g. ``{"CLARION_NGINX_REQUESTS_PER_S": "5"}``.
    """

    def __init__(self, *, gateways: int = 2, env: Mapping[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="clarion-product-"))
        self.run_dir = self.folder / "run"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CLARION_")}
        self.env = {
            **inherited,
            "CLARION_PORT": str(self.port),
            "CLARION_RUN_DIR": str(self.run_dir),
            "CLARION_GATEWAYS": str(gateways),
            **(env or {}),
        }
        self.up: subprocess.Popen[bytes] | None = None

    # --- starting and stopping ------------------------------------------------------------------------------------

    def launch(self) -> subprocess.Popen[bytes]:
        """Start ``make up`` and return at once."""
        with self.output.open("ab") as output:
            self.up = subprocess.Popen(
                [sys.executable, "-m", "deploy.dev", "up"],
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.up

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        seen = self.text.count("Clarion is ready at")
        up = self.launch()
        wait_until(
            lambda: self.text.count("Clarion is ready at") > seen or up.poll() is not None,
            START_DEADLINE_S,
            what="the product is ready",
        )
        assert up.poll() is None, f"make up ended with code {up.returncode}:\n{self.text}"

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask ``make up`` to end and return its exit code."""
        assert self.up
        if self.up.poll() is None:
            self.up.send_signal(number)
        return self.up.wait(STOP_DEADLINE_S)

    def down(self) -> subprocess.CompletedProcess[str]:
        """Run ``make down``'s part of Python."""
        return subprocess.run(
            [sys.executable, "-m", "deploy.dev", "down"],
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STOP_DEADLINE_S,
            check=False,
        )

    def destroy(self) -> str:
        """End whatever is left, remove the folder, and return the names of processes that should not have been."""
        if self.up and self.up.poll() is None:
            self.up.kill()
            self.up.wait()
        left = self.processes()
        names = describe(left)
        if left:
            end_all(self.processes, 10)
        shutil.rmtree(self.folder, ignore_errors=True)
        return names

    # --- looking at it --------------------------------------------------------------------------------------------

    @property
    def output(self) -> Path:
        """File with all that ``make up`` printed."""
        return self.folder / "up.log"

    @property
    def text(self) -> str:
        """What ``make up`` printed so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    @property
    def dev(self) -> dict[str, Any]:
        """The values of ``dev.json``."""
        values: dict[str, Any] = json.loads((self.run_dir / "dev.json").read_text())
        return values

    @property
    def key(self) -> str:
        """See :class:`RestClient`: the one of ``dev.json``."""
        key: str = self.dev["api_key"]
        return key

    def logs(self) -> str:
        """Everything that was logged or printed anywhere."""
        files = [self.output, *self.run_dir.glob("*.log*"), *(self.run_dir / "log").iterdir()]
        return "\n".join(file.read_text(errors="replace") for file in files if file.is_file())

    def processes(self) -> list[psutil.Process]:
        """Every living process of this run but ``make up`` itself."""
        try:
            token = json.loads((self.run_dir / "state.json").read_text())["instance"]
        except FileNotFoundError:
            return []
        return processes_of(token, self.run_dir)

    def pid(self, program: str) -> int:
        """Process id of a supervised program (``redis``, ``http-api``, ``gateway-1``, ``nginx``, ...), or 0."""
        for process in psutil.Process(self.supervisor_pid()).children():
            try:
                if program == ("nginx" if process.name() == "nginx" else process.environ()["SUPERVISOR_PROCESS_NAME"]):
                    return process.pid
            except (psutil.Error, KeyError):
                continue
        return 0

    def tree(self) -> list[psutil.Process]:
        """The supervisor and all below it, found by who started whom: not by what marks a process of this run."""
        supervisor = psutil.Process(self.supervisor_pid())
        return [supervisor, *supervisor.children(recursive=True)]

    def supervisor_pid(self) -> int:
        """Process id of the supervisor."""
        return int((self.run_dir / "supervisord.pid").read_text())

    def kill(self, program: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a supervised program and return the process id that it had."""
        pid = wait_until(lambda: self.pid(program), what=f"{program} runs")
        os.kill(pid, number)
        return pid

    def wait_restarted(self, program: str, old_pid: int) -> int:
        """Wait until a program runs with another process id, and return that."""
        return wait_until(lambda: pid if (pid := self.pid(program)) != old_pid else 0, what=f"{program} restarted")

    def exit_codes(self, program: str) -> list[int]:
        """How a supervised program has ended so far, by the supervisor's log: -1 for a signal."""
        text = (self.run_dir / "log" / "supervisor.log").read_text(errors="replace")
        ends = re.findall(rf"exited: {re.escape(program)} \((?:exit status (\d+)|terminated)", text)
        return [int(code or -1) for code in ends]

    def is_ready(self, gateway: str) -> bool:
        """Whether a gateway (``gateway-1`` ...) says so."""
        address = self.dev["gateways_internal"][int(gateway.rpartition("-")[2]) - 1]
        try:
            return httpx.get(f"{address}/health/ready", trust_env=False).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


@contextmanager
def product(*, gateways: int = 2, env: Mapping[str, str] | None = None) -> Iterator[Product]:
    """Run the product for the length of a ``with`` block; it fails if a process is left after the end."""
    made = Product(gateways=gateways, env=env)
    try:
        made.start()
        yield made
        code = made.stop()
        assert code == 0, f"make up ended with code {code}:\n{made.text[-3000:]}"
    finally:
        left = made.destroy()
    assert not left, f"left after the end: {left}"
