"""The programs of the product: how each is started, stopped and known to be ready."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from clarion.namespaces import config_load
from deploy.dev.env import ROOT, DevEnv
from deploy.dev.processes import TOKEN_VARIABLE, python
from deploy.dev.state import RunDir, State

_OURS = ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""Variables of the caller that no service may see: another project's database, for one."""


@dataclass(frozen=True)
class Program:
    """One supervised process."""

    name: str
    command: list[str]
    is_ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    folder: Path = ROOT
    stop_wait_s: int = 15
    """How long it may take to end after SIGTERM; longer than its own drain."""


def redis_url(state: State) -> str:
    """The URL of the run's Redis, with its password."""
    return f"redis://:{state.redis_password}@127.0.0.1:{state.ports['redis']}"


def base_env(env: DevEnv, run_dir: RunDir, state: State) -> dict[str, str]:
    """The environment that all services share: the caller's, and over it what this run decides."""
    return {
        **{name: value for name, value in os.environ.items() if name not in _OURS},
        TOKEN_VARIABLE: state.instance,
        "PYTHONUNBUFFERED": "1",
        "CLARION_ENVIRONMENT": "development",
        "CLARION_SECRET_KEY": state.secret_key,
        "CLARION_TOKEN_SECRET": _token_secret(env, state),
        "DATABASE_URL": f"sqlite:///{quote(str(run_dir.database))}",
        "CLARION_REDIS_URL": redis_url(state),
        "CLARION_LAYER_PREFIX": env.layer_prefix,
        "CLARION_PUBLIC_URL": env.url,
        "CLARION_CONFIG": str(env.config),
        "CLARION_LOG_FORMAT": "json",
        "CLARION_LAB": str(env.lab),
        "CLARION_HTTP_WORKERS": str(env.http_workers),
        "CLARION_HTTP_BIND": f"127.0.0.1:{state.ports['http-api']}",
        "CLARION_HTTP_GRACEFUL_TIMEOUT_S": os.environ.get("CLARION_HTTP_GRACEFUL_TIMEOUT_S", "10"),
    }


def _token_secret(env: DevEnv, state: State) -> str:
    """The caller's, else the one of their ``clarion.toml``, with which their tokens are signed, else this run's own."""
    if env.token_secret:
        return env.token_secret.get_secret_value()
    return config_load(env.config).client.token.hmac_secret_key.get_secret_value() or state.token_secret


def gateway_names(env: DevEnv) -> list[str]:
    """``gateway-1`` and on: each a process, its node's name and the name of its port."""
    return [f"gateway-{number}" for number in range(1, env.gateways + 1)]


def internal_name(process: str) -> str:
    """The name of a process's internal port."""
    return f"{process}-internal"


def port_names(env: DevEnv) -> list[str]:
    """Every port that is picked."""
    gateways = gateway_names(env)
    return ["redis", "http-api", *map(internal_name, ("http-api", "notifier", *gateways)), *gateways]


def programs(env: DevEnv, run_dir: RunDir, state: State) -> list[Program]:
    """All programs, in the order in which a reader would name them."""
    return [
        _redis(run_dir, state),
        _http_api(state),
        *(_gateway(name, state) for name in gateway_names(env)),
        _notifier(state),
        _nginx(env, run_dir),
    ]


def _redis(run_dir: RunDir, state: State) -> Program:
    port = state.ports["redis"]
    command = ["redis-server", str(run_dir.redis / "redis.conf")]
    return Program("redis", command, lambda: _redis_answers(port, state.redis_password), folder=run_dir.redis)


def _http_api(state: State) -> Program:
    gunicorn = [python(), "-m", "gunicorn", "-c", str(ROOT / "services" / "http-api" / "gunicorn.conf.py")]
    port = state.ports["http-api"]
    return Program(
        "http-api",
        [*gunicorn, "http_api.wsgi:application"],
        lambda: _answers(port, "/health/ready"),
        env={"CLARION_INTERNAL_PORT": str(state.ports[internal_name("http-api")])},
        stop_wait_s=20,
    )


def _gateway(name: str, state: State) -> Program:
    port = state.ports[name]
    return Program(
        name,
        [python(), "-m", "ws_gateway"],
        lambda: _answers(port, "/health/ready"),
        env={
            "CLARION_NODE": name,
            "CLARION_GATEWAY_BIND": f"127.0.0.1:{port}",
            "CLARION_INTERNAL_PORT": str(state.ports[internal_name(name)]),
        },
        stop_wait_s=40,
    )


def _notifier(state: State) -> Program:
    port = state.ports[internal_name("notifier")]
    return Program(
        "notifier",
        [python(), "-m", "notifier"],
        lambda: _answers(port, "/health/ready"),
        env={"CLARION_NODE": "notifier-1", "CLARION_INTERNAL_PORT": str(port)},
        stop_wait_s=20,
    )


def _nginx(env: DevEnv, run_dir: RunDir) -> Program:
    command = ["nginx", "-p", str(run_dir.nginx), "-c", str(run_dir.nginx / "nginx.conf"), "-e", "stderr"]
    return Program("nginx", command, lambda: _answers(env.port, "/health/live"), folder=run_dir.nginx)


def _answers(port: int, path: str) -> bool:
    with suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.HTTPStatus.OK
        finally:
            connection.close()
    return False


def _redis_answers(port: int, password: str) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
        answer = b""
        while b"PONG" not in answer and (more := connection.recv(256)):
            answer += more
        return b"PONG" in answer
    return False
