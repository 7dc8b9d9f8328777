"""What `make up` decides before anything starts: ports, secrets, the supervisor's and nginx's files."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from supervisor.options import ServerOptions
from supervisor.states import ProcessStates

from deploy.dev import ports
from deploy.dev.env import DevEnv
from deploy.dev.nginx import nginx_write
from deploy.dev.processes import TOKEN_VARIABLE
from deploy.dev.services import base_env, port_names, programs
from deploy.dev.state import AlreadyRunning, RunDir, State
from deploy.dev.supervision import MAX_BACKOFF_S, KeptProcess, supervisor_conf_write


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    """Make a run folder whose path would trouble a careless renderer."""
    made = RunDir(tmp_path / "my run 100%")
    made.create()
    return made


def test_ports_are_kept_while_they_are_free() -> None:
    """A name keeps its port over restarts; one that is taken meanwhile gets another, and no two share one."""
    first = ports.keep_or_pick(["a", "b", "c"], {}, reserved=8080)
    assert len(set(first.values())) == 3
    assert ports.keep_or_pick(["a", "b", "c"], first, reserved=8080) == first
    with socket.create_server(("127.0.0.1", first["b"])):
        again = ports.keep_or_pick(["a", "b", "c"], first, reserved=8080)
    assert (again["a"], again["c"]) == (first["a"], first["c"])
    assert again["b"] not in first.values()
    assert ports.keep_or_pick(["a"], first, reserved=first["a"]) != {"a": first["a"]}


def test_ports_are_below_those_of_outgoing_connections() -> None:
    """No client's connection can sit on a killed service's port when that wants to come back."""
    assert all(ports.pick_free() < 32_768 for _ in range(20))


def test_state_keeps_secrets_for_their_owner_alone(run_dir: RunDir) -> None:
    """Secrets are marked as development's, kept over restarts, readable by nobody else; unknown keys are ignored."""
    state = run_dir.state_load()
    assert all(secret.startswith("dev-") for secret in (state.secret_key, state.token_secret, state.redis_password))
    run_dir.state_save(state)
    path = run_dir.path / "state.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text(json.dumps({**json.loads(path.read_text()), "of_a_later_version": 1}))
    assert run_dir.state_load() == state


def test_run_dir_is_held_by_one(run_dir: RunDir) -> None:
    """A second holder is refused and told the first one's process id; after the first it is free again."""
    with run_dir.locked():
        assert run_dir.holder() > 0
        with pytest.raises(AlreadyRunning), run_dir.locked():
            pass
    assert run_dir.holder() == 0


def test_supervisor_socket_fits_the_kernels_limit(tmp_path: Path) -> None:
    """A run folder deep down gets its control socket elsewhere: its path may be 107 bytes."""
    deep = RunDir(tmp_path / ("d" * 120))
    assert len(str(deep.supervisor_socket("0123456789abcdef"))) < 100


def test_backoff_is_bounded() -> None:
    """However often a program failed to start, the next try is near: it is never given up."""
    kept = KeptProcess(SimpleNamespace(name="x", options=None))
    kept.state, kept.backoff = ProcessStates.STARTING, 5000
    kept.change_state(ProcessStates.BACKOFF)
    assert 0 < kept.delay - time.time() <= MAX_BACKOFF_S


def test_services_see_nothing_of_another_project(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's DATABASE_URL and settings module stay outside; what the product knows passes."""
    monkeypatch.setenv("DATABASE_URL", "postgres://production/")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "other.settings")
    monkeypatch.setenv("CLARION_LOG_LEVEL", "DEBUG")
    env, state = DevEnv(run_dir=run_dir.path), _state()
    made = base_env(env, run_dir, state)
    assert made["DATABASE_URL"].startswith("sqlite:////")
    assert "DJANGO_SETTINGS_MODULE" not in made
    assert made["CLARION_LOG_LEVEL"] == "DEBUG"
    assert made[TOKEN_VARIABLE] == state.instance


def test_the_token_secret_is_the_callers_then_the_files(run_dir: RunDir, tmp_path: Path) -> None:
    """Who brings a clarion.toml with an HMAC key brings tokens signed with it: no key of the run's stands before it."""
    state, file = _state(), tmp_path / "clarion.toml"

    def secret(**options: Any) -> str:
        return base_env(DevEnv(run_dir=run_dir.path, **options), run_dir, state)["CLARION_TOKEN_SECRET"]

    assert secret() == state.token_secret
    file.write_text('[client.token]\nhmac_secret_key = "of-the-file"\n')
    assert secret(config=file) == "of-the-file"
    assert secret(config=file, token_secret="of-the-caller") == "of-the-caller"


def test_supervisor_conf_survives_odd_paths(run_dir: RunDir) -> None:
    """Blanks and percent signs in the run folder's path are read by the supervisor as they are."""
    state = _state()
    supervisor_conf_write(run_dir, state.instance, programs(DevEnv(run_dir=run_dir.path), run_dir, state))
    assert stat.S_IMODE(run_dir.supervisor_conf.stat().st_mode) == 0o600
    options = ServerOptions()
    options.realize(["-c", str(run_dir.supervisor_conf)])
    groups = {config.name: config for config in options.process_group_configs}
    assert set(groups) == {"clarion", "redis", "nginx"}
    (redis,) = groups["redis"].process_configs
    assert redis.stdout_logfile == str(run_dir.log / "redis.log")
    assert redis.directory == str(run_dir.redis)


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"trusted_proxies": "10.0.0.0/8, 192.0.2.1"},
        {"nginx_connections_per_address": 5, "nginx_handshakes_per_s": 2, "nginx_requests_per_s": 3},
    ],
)
def test_nginx_accepts_what_is_rendered(run_dir: RunDir, choices: dict[str, object]) -> None:
    """`nginx -t` is content with every combination, and no placeholder is left."""
    env = DevEnv.model_validate({"run_dir": run_dir.path, "port": ports.pick_free(), **choices})
    conf = nginx_write(
        run_dir.nginx, env, http_api="127.0.0.1:1", gateways=["127.0.0.1:2"], access_log=run_dir.log / "access.log"
    )
    assert "${" not in conf.read_text()
    command = ["nginx", "-t", "-p", str(run_dir.nginx), "-c", str(conf), "-e", "stderr"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_nginx_refuses_a_path_it_cannot_have(tmp_path: Path) -> None:
    """A dollar sign in the path would be read as a variable: that is said, not rendered."""
    env = DevEnv(run_dir=tmp_path)
    with pytest.raises(ValueError, match="CLARION_RUN_DIR"):
        nginx_write(tmp_path, env, http_api="h:1", gateways=[], access_log=tmp_path / "a$b")


def _state() -> State:
    state = State()
    state.ports = {name: 20_000 + number for number, name in enumerate(port_names(DevEnv()))}
    return state
