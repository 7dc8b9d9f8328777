"""The environment that ``make up`` reads.

Source: docs/reference/environment.md, "make up".
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from clarion.env import EXIT_CONFIG
from clarion.errors import ConfigInvalid
from clarion.namespaces import config_load

ROOT: Final = Path(__file__).resolve().parents[2]
_SECRET: Final = re.compile(r"SECRET|TOKEN|PASSWORD|KEY|_URL$")
"""Variables whose values are not shown; a URL may hold a password."""


class DevEnv(BaseSettings):
    """What a developer may choose; everything has a default."""

    model_config = SettingsConfigDict(env_prefix="CLARION_", frozen=True, extra="ignore", env_ignore_empty=True)

    port: int = Field(default=8080, ge=1, le=65535)
    """Where nginx listens on 127.0.0.1. Every other port is picked free."""
    gateways: int = Field(default=2, ge=1, le=64)
    http_workers: int = Field(default=1, ge=1, le=64)
    config: Path = ROOT / "deploy" / "dev" / "clarion.toml"
    token_secret: SecretStr | None = None
    """HMAC key of connection tokens; left out: one made on the first start."""
    run_dir: Path = ROOT / ".run"
    """Where all state is."""
    layer_prefix: str = Field(default="asgi", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    lab: bool = True
    """Whether the lab is served; the services read the same variable."""

    nginx_connections_per_address: int = Field(default=0, ge=0)
    """Sockets that one client address may hold open; 0: no limit."""
    nginx_handshakes_per_s: int = Field(default=0, ge=0)
    """New sockets per second and client address; 0: no limit."""
    nginx_requests_per_s: int = Field(default=0, ge=0)
    """Other requests per second and client address; 0: no limit."""
    trusted_proxies: str = ""
    """Networks (CIDR, separated by commas) whose X-Forwarded-For and -Proto are believed."""

    @field_validator("config", "run_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @field_validator("config")
    @classmethod
    def _exists(cls, path: Path) -> Path:
        if not path.is_file():
            raise ValueError(f"there is no file {path}")
        return path

    @property
    def url(self) -> str:
        """The origin that browsers see."""
        return f"http://127.0.0.1:{self.port}"


def dev_env_load() -> DevEnv:
    """Read and check the environment; on any problem say all of them and exit with ``EXIT_CONFIG``."""
    try:
        return DevEnv()
    except ValidationError as exc:
        for error in exc.errors(include_url=False, include_input=False):
            name = "_".join(["CLARION", *(str(part).upper() for part in error["loc"])])
            sys.stderr.write(f"{name}: {error['msg'].removeprefix('Value error, ')}\n")
        sys.exit(EXIT_CONFIG)


def config_check(env: DevEnv) -> None:
    """Read ``clarion.toml`` before anything is prepared; on any problem say all of them and exit with ``EXIT_CONFIG``.

    Not part of :func:`dev_env_load`: ``make down`` must work while the file is broken.
    """
    try:
        config_load(env.config)
    except ConfigInvalid as exc:
        sys.stderr.write("".join(f"CLARION_CONFIG: {problem}\n" for problem in exc.problems))
        sys.exit(EXIT_CONFIG)


def command_with_port(port: int) -> str:
    """``make up`` on another port, with the other variables of the caller; secrets as ``...``."""
    words = [f"CLARION_PORT={port}"]
    for name, value in sorted(os.environ.items()):
        if name.startswith("CLARION_") and name != "CLARION_PORT" and value:
            words.append(f"{name}={'...' if _SECRET.search(name) else shlex.quote(value)}")
    return " ".join([*words, "make up"])
