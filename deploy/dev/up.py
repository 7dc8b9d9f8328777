"""``make up``: prepare, start, show, and stop everything again.

Source: deploy/dev/README.md; docs/reference/environment.md.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import psutil

from deploy.dev import ports
from deploy.dev.console import Console
from deploy.dev.env import ROOT, DevEnv, command_with_port
from deploy.dev.nginx import nginx_write
from deploy.dev.prepare import ADMIN_NAME, PrepareFailed, is_needed, prepare
from deploy.dev.processes import describe, end_all, kill_all, processes_of, python
from deploy.dev.readiness import Readiness
from deploy.dev.services import (
    Program,
    base_env,
    gateway_names,
    internal_name,
    port_names,
    programs,
    redis_url,
)
from deploy.dev.state import AlreadyRunning, RunDir, State, write_private
from deploy.dev.supervision import supervisor_command, supervisor_conf_write
from deploy.dev.tail import Tail

_POLL_S: Final = 0.1
_ACCESS_LOG_BYTES: Final = 10_000_000
_LEFT_WAIT_S: Final = 15.0
_PROGRAM_OF: Final = {"requests": "nginx", "errors": "supervisor"}
"""Whose lines a file holds, where it is not named after its program."""


class CannotStart(Exception):
    """Something outside is in the way; the text says what, and what to do."""


def up(env: DevEnv) -> int:
    """Run the product until it is told to stop; return the exit code."""
    os.umask(0o077)
    run_dir = RunDir(env.run_dir)
    run_dir.create()
    console = Console(run_dir.path / "clarion.log")
    try:
        with run_dir.locked():
            return Run(env, run_dir, console).run()
    except AlreadyRunning as exc:
        console.say(f"Clarion is running already ({exc}) with its state in {run_dir.path}: `make down` stops it.")
    except CannotStart as exc:
        console.say(f"Clarion cannot start: {exc}")
    except PrepareFailed as exc:
        console.say(f"Clarion cannot start: {exc}")
        return exc.code
    finally:
        console.close()
    return 1


class Run:
    """One run, from the first check to the last process's end."""

    def __init__(self, env: DevEnv, run_dir: RunDir, console: Console) -> None:
        self._env = env
        self._run_dir = run_dir
        self._console = console
        self._state = run_dir.state_load()
        self._stops = 0  # signals that asked for the end
        self._tails: dict[str, Tail] = {}

    def run(self) -> int:
        """Start, show and stop; return the exit code."""
        began = time.monotonic()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        self._end_left()
        self._choose_ports()
        self._prepare()
        supervised = programs(self._env, self._run_dir, self._state)
        self._configure(supervised)
        if self._stops:
            return 0
        self._tails = self._open_tails(supervised)
        supervisor = self._supervisor_start()
        try:
            return self._watch(supervisor, supervised, began)
        finally:
            self._end(supervisor)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stops += 1

    def _end_left(self) -> None:
        if left := self._processes():
            self._console.say(f"Stopping what an earlier run left: {describe(left)}")
            end_all(self._processes, _LEFT_WAIT_S)

    def _processes(self) -> list[psutil.Process]:
        return processes_of(self._state.instance, self._run_dir.path)

    def _choose_ports(self) -> None:
        port = self._env.port
        if obstacle := ports.obstacle(port):
            raise CannotStart(f"port {port} {obstacle}. Choose another one: {command_with_port(ports.pick_free())}")
        self._state.ports = ports.keep_or_pick(port_names(self._env), self._state.ports, port)
        # Before anything starts: what is started carries the token that is in this file.
        self._run_dir.state_save(self._state)

    def _prepare(self) -> None:
        if is_needed(self._run_dir, self._state):
            self._console.say("Preparing the database ...")
            prepare(self._run_dir, self._state, base_env(self._env, self._run_dir, self._state))
            self._run_dir.state_save(self._state)

    def _configure(self, supervised: Sequence[Program]) -> None:
        env, run_dir, state = self._env, self._run_dir, self._state
        gateways = [f"127.0.0.1:{state.ports[name]}" for name in gateway_names(env)]
        http_api = f"127.0.0.1:{state.ports['http-api']}"
        try:
            nginx_write(run_dir.nginx, env, http_api=http_api, gateways=gateways, access_log=self._access_log)
        except ValueError as exc:
            raise CannotStart(str(exc)) from exc
        redis_conf_write(run_dir, state)
        supervisor_conf_write(run_dir, state.instance, supervised)
        run_dir.dev_json_write(
            {
                "url": env.url,
                "api_key": state.api_key,
                "token_secret": base_env(env, run_dir, state)["CLARION_TOKEN_SECRET"],
                "admin": {"id": state.admin_id, "username": ADMIN_NAME, "password": state.admin_password},
                "http_api": f"http://{http_api}",
                "gateways": [f"http://{gateway}" for gateway in gateways],
                "http_api_internal": f"http://127.0.0.1:{state.ports[internal_name('http-api')]}",
                "notifier_internal": f"http://127.0.0.1:{state.ports[internal_name('notifier')]}",
                "gateways_internal": [
                    f"http://127.0.0.1:{state.ports[internal_name(name)]}" for name in gateway_names(env)
                ],
                "redis_url": redis_url(state),
                "layer_prefix": env.layer_prefix,
            }
        )

    @property
    def _access_log(self) -> Path:
        return self._run_dir.log / "nginx-access.log"

    def _open_tails(self, supervised: Sequence[Program]) -> dict[str, Tail]:
        tails = {program.name: Tail(self._run_dir.log / f"{program.name}.log") for program in supervised}
        tails["requests"] = Tail(self._access_log, truncate_at_bytes=_ACCESS_LOG_BYTES)
        tails["supervisor"] = Tail(self._run_dir.log / "supervisor.log")
        tails["errors"] = Tail(self._run_dir.log / "supervisor-errors.log")
        return tails

    def _supervisor_start(self) -> subprocess.Popen[bytes]:
        with (self._run_dir.log / "supervisor-errors.log").open("ab") as errors:
            return subprocess.Popen(
                [python(), *supervisor_command(self._run_dir.supervisor_conf)],
                cwd=ROOT,
                env=base_env(self._env, self._run_dir, self._state),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,  # a terminal's Ctrl-C reaches this process alone, which then stops the rest
            )

    def _watch(self, supervisor: subprocess.Popen[bytes], supervised: Sequence[Program], began: float) -> int:
        readiness = Readiness(supervised, self._run_dir.supervisor_socket(self._state.instance))
        readiness.start()
        is_told = False
        while not self._stops:
            self._show()
            if supervisor.poll() is not None:
                self._show()
                self._console.say(f"The supervisor ended by itself (code {supervisor.returncode}).")
                return 1
            if readiness.failure:
                self._console.say(f"Clarion cannot start: {readiness.failure}. Logs: {self._run_dir.log}")
                return readiness.code
            if not is_told and not readiness.is_alive():
                is_told = True
                self._tell_ready(time.monotonic() - began)
            time.sleep(_POLL_S)
        readiness.cancel()
        return 0

    def _tell_ready(self, took_s: float) -> None:
        self._console.say(f"Clarion is ready at {self._env.url}")
        self._console.say(f"  console: {self._env.url}/ (sign in as {ADMIN_NAME}; started in {took_s:.1f} s)")
        if self._env.lab:
            self._console.say(f"  lab: {self._env.url}/lab/ (every lesson of the Channels tutorials, running)")
        self._console.say(f"  password, API key and addresses: {self._run_dir.dev_json}")
        self._console.say("  next: README.md, The first five minutes")

    def _show(self) -> None:
        for name, tail in self._tails.items():
            for line in tail.lines():
                self._console.event(_PROGRAM_OF.get(name, name), line)

    def _end(self, supervisor: subprocess.Popen[bytes]) -> None:
        """Stop everything; a second signal hurries. Nothing is left when this returns."""
        self._console.say("Stopping ... (again: at once)" if self._stops < 2 else "Stopping at once ...")
        if supervisor.poll() is None:
            supervisor.terminate()
        end = time.monotonic() + 120  # over every program's own wait
        while supervisor.poll() is None and self._stops < 2 and time.monotonic() < end:
            self._show()
            time.sleep(_POLL_S)
        if supervisor.poll() is None or self._stops >= 2:
            killed = kill_all(self._processes)
        else:
            killed = end_all(self._processes, _LEFT_WAIT_S)
        supervisor.wait()
        self._show()
        for tail in self._tails.values():
            tail.close()
        self._console.say(f"Clarion has stopped{f' ({killed} processes had to be killed)' if killed else ''}.")


def redis_conf_write(run_dir: RunDir, state: State) -> None:
    """Write Redis's configuration: ours for every deployment, and over it what is this run's own."""
    lines = [
        f'include "{ROOT / "deploy" / "redis" / "redis.conf"}"',
        "bind 127.0.0.1",
        f"port {state.ports['redis']}",
        f'dir "{run_dir.redis}"',
        f"requirepass {state.redis_password}",
    ]
    write_private(run_dir.redis / "redis.conf", "\n".join(lines) + "\n")
